package manage

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/httpapi/apikey"
	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/ids"
)

// incidentStore is the part of the state that the calls about incidents read.
type incidentStore interface {
	Incident(store.AccountID, store.IncidentID) (*store.Incident, error)
	Incidents(store.AccountID) ([]*store.Incident, error)
	Key(store.KeyID) (*store.Key, error)
	ClusterID() string
	Sign(text []byte) (key string, signature []byte, err error)
}

// Incidents serves the calls about incidents.
type Incidents struct {
	Store incidentStore
	Keys  Keys
	Audit AuditLogs
}

// newIncident is the body of POST /v1/incidents.
type newIncident struct {
	Title  *string        `json:"title"`
	Match  *incidentMatch `json:"match"`
	Action *string        `json:"action"`
	Freeze *bool          `json:"freeze"`
}

// incidentMatch selects keys as a bulk revocation does.
type incidentMatch struct {
	IDs           []store.KeyID  `json:"ids"`
	CreatedBy     *string        `json:"created_by"`
	Type          *store.KeyType `json:"type"`
	Environment   *string        `json:"environment"`
	CreatedBefore *time.Time     `json:"created_before"`
}

// Check implements [rest.Checker].
func (in *newIncident) Check(c *rest.Call) error {
	var faults fault.List
	if in.Title == nil {
		faults.Add(rest.Invalid("title", "is required"))
	} else {
		faults.Add(checkText("title", *in.Title, 1, maxName))
	}
	switch {
	case in.Action == nil:
		faults.Add(rest.Invalid("action", `is required: "revoke", "rotate" or "none"`))
	case *in.Action != store.IncidentRevoke && *in.Action != store.IncidentRotate && *in.Action != store.IncidentNone:
		faults.Add(rest.Invalid("action", `must be "revoke", "rotate" or "none"`))
	}
	switch {
	case in.Match != nil:
		b := bulk{IDs: in.Match.IDs, CreatedBy: in.Match.CreatedBy, Type: in.Match.Type, Environment: in.Match.Environment, CreatedBefore: in.Match.CreatedBefore}
		faults.Add(b.Check(c))
	case in.Action == nil || *in.Action != store.IncidentNone:
		faults.Add(rest.Invalid("match", "is required: the keys that are affected, such as {\"created_by\":\"…\"}"))
	}
	return faults.Err()
}

// incident is what in describes.
func (in *newIncident) incident() store.Incident {
	n := store.Incident{ID: store.IncidentID(ids.New("inc_")), Title: *in.Title, Action: *in.Action}
	set(&n.Freeze, in.Freeze)
	if m := in.Match; m != nil {
		n.Match = store.IncidentMatch{IDs: m.IDs, Type: m.Type, Environment: m.Environment}
		set(&n.Match.CreatedBy, m.CreatedBy)
		set(&n.Match.CreatedBefore, m.CreatedBefore)
		n.Match.CreatedBefore = n.Match.CreatedBefore.UTC()
	}
	return n
}

// incidentView is an incident as the API shows it.
type incidentView struct {
	ID       store.IncidentID `json:"id"`
	Title    string           `json:"title"`
	State    string           `json:"state"` // open, closed
	Match    incidentFilters  `json:"match"`
	Action   string           `json:"action"`
	Freeze   bool             `json:"freeze"`
	Matched  int              `json:"matched"`
	Revoked  int              `json:"revoked"`
	Rotated  int              `json:"rotated"`
	OpenedAt time.Time        `json:"opened_at"`
	OpenedBy store.Actor      `json:"opened_by"`
	ClosedAt *time.Time       `json:"closed_at"`
	ClosedBy *store.Actor     `json:"closed_by"`
}

// incidentFilters are the filters of an incident.
type incidentFilters struct {
	IDs           []store.KeyID  `json:"ids"`
	CreatedBy     *string        `json:"created_by"`
	Type          *store.KeyType `json:"type"`
	Environment   *string        `json:"environment"`
	CreatedBefore *time.Time     `json:"created_before"`
}

// wholeIncident adds what a list leaves out.
type wholeIncident struct {
	incidentView
	Keys []store.KeyID  `json:"keys"` // affected; cut at 10,000
	Head jsontext.Value `json:"head"` // signed heads of the audit log when the incident was opened
}

// openedIncident is the answer to the call that opens one: the only one that shows the
// secrets of new keys.
type openedIncident struct {
	wholeIncident
	NewKeys    []rotatedKey     `json:"new_keys"`
	Failed     []failedKey      `json:"failed"`
	Revocation *rest.Revocation `json:"revocation"`
}

// rotatedKey is a new key in the place of an affected one.
type rotatedKey struct {
	ID       store.KeyID `json:"id"`
	Replaces store.KeyID `json:"replaces"`
	Key      *string     `json:"key"` // null in a repeat
}

// failedKey is an affected key that could not be rotated.
type failedKey struct {
	ID    store.KeyID `json:"id"`
	Error string      `json:"error"`
}

func viewIncident(n *store.Incident) incidentView {
	v := incidentView{
		ID: n.ID, Title: n.Title, State: "open", Action: n.Action, Freeze: n.Freeze, Matched: n.Matched, Revoked: n.Revoked, Rotated: n.Rotated,
		Match: incidentFilters{
			IDs: n.Match.IDs, CreatedBy: some(n.Match.CreatedBy), Type: n.Match.Type, Environment: n.Match.Environment, CreatedBefore: when(n.Match.CreatedBefore),
		},
		OpenedAt: n.OpenedAt.UTC(), OpenedBy: n.OpenedBy, ClosedAt: when(n.ClosedAt),
	}
	if v.ClosedAt != nil {
		v.State, v.ClosedBy = "closed", &n.ClosedBy
	}
	return v
}

func viewWhole(n *store.Incident) wholeIncident {
	w := wholeIncident{viewIncident(n), n.Keys, n.Head}
	if w.Keys == nil {
		w.Keys = []store.KeyID{}
	}
	if w.Head == nil {
		w.Head = jsontext.Value("null")
	}
	return w
}

// Open opens an incident: it freezes the account if asked, keeps the signed heads of the
// audit log, finds the affected keys, and revokes or rotates them.
func (h *Incidents) Open(c *rest.Call, in *newIncident) (*openedIncident, error) {
	if err := in.Check(c); err != nil {
		return nil, err
	}
	rc, err := c.Propose(&store.Command{Change: &store.IncidentOpen{Incident: in.incident()}})
	if err != nil {
		return nil, err
	}
	opened := rc
	n := rc.Incident
	done := store.IncidentDone{Head: h.heads(c)}
	cmd := &store.KeyRevokeBulk{
		IDs: n.Match.IDs, CreatedBy: n.Match.CreatedBy, Type: n.Match.Type, Environment: n.Match.Environment, CreatedBefore: n.Match.CreatedBefore,
		Reason: "incident " + string(n.ID),
	}
	out := &openedIncident{NewKeys: []rotatedKey{}, Failed: []failedKey{}}
	if in.Match != nil {
		found, err := h.Keys.dryRun(c, cmd)
		if err != nil {
			return nil, err
		}
		done.Keys, done.Matched = found.IDs, found.Matched
	}
	// The affected keys are noted before anything is done to them. A repeat of the call goes on
	// with these, and does not find the keys that replace them.
	c.Continue("found")
	if rc, err = c.Propose(&store.Command{Change: &store.IncidentNote{ID: n.ID, Done: done}}); err != nil {
		return nil, err
	}
	if in.Match != nil {
		done = store.IncidentDone{Keys: rc.Incident.Keys}
		if err := h.act(c, n, cmd, &done, out); err != nil {
			return nil, err
		}
		done.Keys = nil
		c.Continue("note")
		if rc, err = c.Propose(&store.Command{Change: &store.IncidentNote{ID: n.ID, Done: done}}); err != nil {
			return nil, err
		}
	}
	out.wholeIncident = viewWhole(rc.Incident)
	c.ETag = rc.Incident.Modified
	status := c.Status
	c.Created(opened)
	if out.Revocation != nil && !out.Revocation.Effective {
		c.Status = status
	}
	return out, nil
}

// act revokes or rotates the affected keys.
func (h *Incidents) act(c *rest.Call, n *store.Incident, cmd *store.KeyRevokeBulk, done *store.IncidentDone, out *openedIncident) error {
	switch n.Action {
	case store.IncidentRevoke:
		c.Continue("revoke")
		revoked, err := h.Keys.revokeAll(c, cmd)
		if err != nil {
			return err
		}
		done.Revoked, out.Revocation = revoked.Revoked, revoked.Revocation
	case store.IncidentRotate:
		return h.rotate(c, n, done, out)
	}
	return nil
}

// rotate replaces the affected keys at once, without an overlap.
func (h *Incidents) rotate(c *rest.Call, n *store.Incident, done *store.IncidentDone, out *openedIncident) error {
	if err := h.Keys.room(c, store.Held{Keys: len(done.Keys)}); err != nil {
		return err
	}
	for first := 0; first < len(done.Keys); first += bulkStep {
		step := done.Keys[first:min(first+bulkStep, len(done.Keys))]
		change := &store.KeyRotateMany{}
		var secrets []string
		for _, id := range step {
			k, err := h.Store.Key(id)
			if err != nil {
				return err
			}
			if k == nil {
				out.Failed = append(out.Failed, failedKey{id, "the key is gone"})
				continue
			}
			secret := apikey.New(prefixOf(k.Type))
			secrets = append(secrets, secret)
			change.Rotations = append(change.Rotations, store.KeyRotate{
				ID: id, New: store.KeyID(ids.NewSorted("key_", c.Now)), Hint: apikey.Hint(secret), Counts: true, Incident: n.ID, CreatedBy: h.Keys.maker(c),
			})
		}
		if len(change.Rotations) == 0 {
			continue
		}
		c.Continue("rotate " + string(step[0]))
		rc, err := h.Keys.propose(c, func(p store.Peppers) store.Change {
			for i := range change.Rotations {
				change.Rotations[i].Hash, change.Rotations[i].Generation = apikey.Hash(p.Current, secrets[i]), p.Generation
			}
			return change
		})
		if err != nil {
			return err
		}
		for i, line := range rc.Lines {
			old := change.Rotations[i].ID
			switch {
			case line.Error != "":
				out.Failed = append(out.Failed, failedKey{old, line.Error})
			case rc.Repeat:
				out.NewKeys = append(out.NewKeys, rotatedKey{line.ID, old, nil})
			default:
				out.NewKeys = append(out.NewKeys, rotatedKey{line.ID, old, &secrets[i]})
			}
		}
		out.Revocation = worse(out.Revocation, c.Revoked(rc))
	}
	done.Rotated = len(out.NewKeys)
	return nil
}

// heads are the signed heads of the audit log; nil where they cannot be had now.
func (h *Incidents) heads(c *rest.Call) jsontext.Value {
	file, err := h.Audit.Heads(c.Request.Context(), c.Account)
	if err != nil {
		return nil
	}
	raw, err := json.Marshal(file, json.Deterministic(true))
	if err != nil || len(raw) > 200<<10 {
		return nil
	}
	return raw
}

// List shows the account's incidents, the newest first.
func (h *Incidents) List(c *rest.Call) (*rest.Page[incidentView], error) {
	q := c.Query()
	limit := q.Limit()
	after, err := q.Cursor()
	if err != nil {
		return nil, err
	}
	list, err := h.Store.Incidents(c.Account)
	if err != nil {
		return nil, err
	}
	out := &rest.Page[incidentView]{Data: []incidentView{}}
	skip := after != ""
	for _, n := range list {
		switch {
		case skip:
			skip = string(n.ID) != after
		case len(out.Data) == limit:
			out.Next = q.Seal(string(out.Data[limit-1].ID))
			return out, nil
		default:
			out.Data = append(out.Data, viewIncident(n))
		}
	}
	return out, nil
}

func (h *Incidents) named(c *rest.Call) (*store.Incident, error) {
	n, err := h.Store.Incident(c.Account, store.IncidentID(c.Param))
	if err == nil && n == nil {
		err = fault.Newf(fault.NotFound, "There is no such incident in this account.")
	}
	return n, err
}

// Get shows one incident.
func (h *Incidents) Get(c *rest.Call) (*wholeIncident, error) {
	n, err := h.named(c)
	if err != nil {
		return nil, err
	}
	c.ETag = n.Modified
	v := viewWhole(n)
	return &v, nil
}

// Close ends an incident and its freeze.
func (h *Incidents) Close(c *rest.Call, _ *nothing) (*wholeIncident, error) {
	rc, err := c.Propose(&store.Command{Change: &store.IncidentClose{ID: store.IncidentID(c.Param)}})
	if err != nil {
		return nil, err
	}
	c.ETag = rc.Incident.Modified
	v := viewWhole(rc.Incident)
	return &v, nil
}

// unsigned is the fault of a report that cannot be signed.
func unsigned(err error) error {
	if errors.Is(err, store.ErrNoSigner) {
		return &fault.Error{Code: fault.Unavailable, RetryAfter: 5, Message: "The report cannot be signed yet: " + err.Error() + "."}
	}
	return err
}
