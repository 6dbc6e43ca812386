package share

// Figures are what a node's side of buckets amounts to, for metrics.
type Figures struct {
	Here     int64 // units that this node may spend
	Lent     Part  // of the node's own parts, to others
	Borrowed Part
	// Excess is the units here beyond what the node's parts and other nodes' holds cover. It
	// is 0, or the buckets are wrong.
	Excess int64
}

// Add adds a bucket, which has been brought to now.
func (f *Figures) Add(b *Bucket) {
	f.Here += b.Left()
	f.Excess = max(f.Excess, (b.tok-b.cap+b.pace.Weight-1)/b.pace.Weight)
	if b.more == nil {
		return
	}
	f.Lent += b.more.lentAll()
	for i := range b.more.held {
		f.Borrowed += b.more.held[i].part
	}
}
