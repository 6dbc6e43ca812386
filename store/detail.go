package store

// Detail is what few requests need to know of a key beside its [Record]: those of an
// account whose rules ask for it.
type Detail struct {
	Environment string
	Counted     Lineage // as which key it is counted; see Record.Counted
}

// Detail returns r's detail: from r, or with two reads of the database if it is asked for
// the first time. A change of the key makes a new record, so r's never changes: it is at
// least as new as r.
func (s *Store) Detail(r *Record) (*Detail, error) {
	if d := r.detail.Load(); d != nil {
		return d, nil
	}
	k, err := s.Key(r.ID)
	if err != nil {
		return nil, err
	}
	d := &Detail{Counted: Lineage{ID: r.ID, Created: r.Created}}
	if k != nil {
		d.Environment, d.Counted = k.Environment, k.lineage()
	}
	r.detail.Store(d)
	return d, nil
}
