package ui

// Patterns are the patterns of all pages.
func Patterns() (out []string) {
	for _, r := range (&UI{}).routes() {
		out = append(out, r.pattern)
	}
	return out
}
