package client

import (
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"time"
)

// WriteUsageCSV writes rows of usage that are grouped by a dimension as CSV with a head.
func WriteUsageCSV(w io.Writer, groupBy string, rows []UsageRow) error {
	if groupBy == "" {
		groupBy = "group"
	}
	out := csv.NewWriter(w)
	_ = out.Write([]string{"time", groupBy, "requests", "denied", "units", "cost", "billable", "would_refuse"}) // Flush tells of errors
	whole := func(n int64) string { return strconv.FormatInt(n, 10) }
	for _, r := range rows {
		group := ""
		if r.Group != nil {
			group = *r.Group
		}
		_ = out.Write([]string{r.Time.UTC().Format(time.RFC3339), inert(group), whole(r.Requests), whole(r.Denied), whole(r.Units), r.Cost.String(), whole(r.Billable), whole(r.WouldRefuse)})
	}
	out.Flush()
	return out.Error()
}

// inert puts an apostrophe in front of a cell that a spreadsheet would take for a formula,
// as the audit log's CSV does.
func inert(s string) string {
	if s != "" && strings.IndexByte("=+-@\t\r\n'", s[0]) >= 0 {
		return "'" + s
	}
	return s
}
