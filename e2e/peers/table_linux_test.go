package peers

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// series are the values of the proxies, round by round.
type series struct {
	values  map[string][]float64
	foreign []float64
}

func (s *series) add(name string, value, foreign float64) {
	if s.values == nil {
		s.values = map[string][]float64{}
	}
	s.values[name] = append(s.values[name], value)
	s.foreign = append(s.foreign, foreign)
}

// ratio is the median of the ratios of each round, "" without both values. Differences
// may be lost in the noise; then there is none either.
func (s *series) ratio(a, b string) string {
	var out []float64
	for i, v := range s.values[a] {
		if i >= len(s.values[b]) {
			break
		}
		if v <= 0 || s.values[b][i] <= 0 {
			return ""
		}
		out = append(out, v/s.values[b][i])
	}
	if len(out) == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(out))
}

// table collects the figures, for people and in Markdown.
type table struct{ rows []string }

// row adds a figure; format is that of a value.
func (tb *table) row(title, format string, s series) {
	cells := []string{title}
	for _, name := range names {
		text := ""
		if v := s.values[name]; len(v) > 0 {
			text = fmt.Sprintf(format, median(v))
		}
		cells = append(cells, text)
	}
	for _, name := range others() {
		cells = append(cells, s.ratio("perfgate", name))
	}
	foreign := ""
	if len(s.foreign) > 0 {
		foreign = fmt.Sprintf("%.2f (%.2f–%.2f)", median(s.foreign), slices.Min(s.foreign), slices.Max(s.foreign))
	}
	tb.rows = append(tb.rows, "| "+strings.Join(append(cells, foreign), " | ")+" |")
}

// cells adds one value for each proxy.
func (tb *table) cells(title string, values map[string]string) {
	out := []string{title}
	for _, name := range names {
		out = append(out, values[name])
	}
	tb.rows = append(tb.rows, "| "+strings.Join(out, " | ")+" |"+strings.Repeat(" |", len(others())+1))
}

func (tb *table) print() {
	titles := append([]string{"figure"}, columns...)
	for i, name := range names {
		if name != "perfgate" {
			titles = append(titles, "to "+columns[i])
		}
	}
	titles = append(titles, "cores used by others")
	fmt.Printf("\n| %s |\n|%s\n%s\n\n", strings.Join(titles, " | "), strings.Repeat(" --- |", len(titles)), strings.Join(tb.rows, "\n"))
}

// others are the proxies that perfgate is compared with.
func others() []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == "perfgate" })
}

// median of an even number of values is the mean of the middle two.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// copyFile writes a file of testdata to path.
func copyFile(t testing.TB, name, path string) {
	t.Helper()
	raw, err := files.ReadFile("testdata/" + name)
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
