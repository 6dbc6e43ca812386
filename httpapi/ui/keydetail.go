package ui

import (
	"net/url"

	"github.com/perfgate/perfgate/httpapi/client"
)

// The parts of a key's page.
const (
	daysOfKey   = 30 // of usage
	eventsOfKey = 10
)

// keyDetail is everything about one key. The parts that the role may not read are absent.
type keyDetail struct {
	Key    *client.Key
	Limits []client.Policy
	Binds  string // the policy of which the least is left
	Usage  *keyTraffic
	Events []client.Event
	Audit  bool // the role may read the audit log
	May    bool // change the key
	Ended  bool // revoked or expired: nothing can be changed any more
}

// keyPage shows one key.
func keyPage(v *visit) error {
	k, err := v.api.GetKey(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	b := keyDetail{Key: k, May: v.me.mayChange(k), Ended: k.State == "revoked" || k.State == "expired"}
	if !b.Ended {
		if b.Limits, err = v.api.Limits(v.context(), k.ID); err != nil {
			if ok, err := allowed(err); !ok && err != nil {
				return err
			}
		}
	}
	b.Binds, _ = binding(b.Limits)
	if b.Usage, err = trafficOf(v, k.ID); err != nil {
		return err
	}
	if b.Usage != nil && v.me.may(readAudit) {
		if b.Usage.Refusals, err = refusalsOf(v, k.ID); err != nil {
			return err
		}
	}
	b.Events, b.Audit, err = v.events(url.Values{"key": {k.ID}, "limit": {"10"}})
	if err != nil {
		return err
	}
	return v.show("key", k.Name, b)
}

// firstUsePage tells whether a new key has been used; the page with its secret follows it.
func firstUsePage(v *visit) error {
	k, err := v.api.GetKey(v.context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return v.show("first", "First request", k)
}

// events are the newest audit events that match q; ok is false if the role may not read
// the audit log.
func (v *visit) events(q url.Values) (list []client.Event, ok bool, err error) {
	if !v.me.may(readAudit) {
		return nil, false, nil // a call that is refused would stand in the audit log
	}
	var out client.List[client.Event]
	err = v.api.Do(v.context(), "GET", "/v1/audit-logs", q, nil, &out)
	if ok, err = allowed(err); !ok {
		return nil, false, err
	}
	return out.Data, true, nil
}
