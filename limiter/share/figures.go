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
	f.Excess = max(f.Excess, (b.tok-b.cap+b.Pace().Weight-1)/b.Pace().Weight)
	m := b.more
	if b.rest != "" {
		m = new(more)
		m.unpack(b.rest, b.at)
	}
	if m == nil {
		return
	}
	f.Lent += m.lentAll()
	for i := range m.held {
		f.Borrowed += m.held[i].part
	}
}
