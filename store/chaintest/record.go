package chaintest

import (
	"strconv"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/chain"
)

// RecordOf is e as an export holds it.
func RecordOf(e *store.Event) *chain.Record {
	num := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	r := &chain.Record{e.ID, strconv.FormatUint(e.Seq, 10), e.Time.Format(chain.TimeFormat), string(e.EventType), e.Action,
		string(e.Actor.Type), e.Actor.ID, e.Actor.Name, string(e.Account), string(e.KeyID), e.Target, string(e.Outcome), e.Reason, e.IP, e.Country, e.UserAgent,
		21: string(e.Changes), 27: num(int(e.Count))}
	if q := e.Request; q != nil {
		r[16], r[17], r[18], r[19], r[22], r[23], r[24], r[26] = q.ID, q.Method, q.Route, num(q.Status), q.Path, q.Upstream, num(q.Attempts), q.Errors
		if q.DurationMS != 0 {
			r[20] = strconv.FormatFloat(q.DurationMS, 'f', -1, 64)
		}
		if !q.StartedAt.IsZero() {
			r[25] = q.StartedAt.Format(chain.TimeFormat)
		}
	}
	return r
}
