package ui

// overview is the first page.
func overview(v *visit) error { return v.see("/keys") }
