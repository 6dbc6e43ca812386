package config

import "strings"

// nearest is the one of names that was probably meant by name, or "": the one with
// the fewest wrong, missing, additional or exchanged characters, at most a third of
// them. Case, dashes and underscores do not count.
func nearest(name string, names []string) string {
	best, least := "", len(name)/3+1
	if len(name) < 3 {
		least = 1
	}
	for _, n := range names {
		if d := distance(plain(name), plain(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

var plainNames = strings.NewReplacer("-", "", "_", "")

func plain(s string) string { return strings.ToLower(plainNames.Replace(s)) }

// maxName bounds the names that are compared, in bytes: the work is its square.
const maxName = 64

// distance counts the edits that turn a into b: insertions, deletions, substitutions
// and exchanges of neighbors.
func distance(a, b string) int {
	if len(a) > maxName || len(b) > maxName {
		return max(len(a), len(b))
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
