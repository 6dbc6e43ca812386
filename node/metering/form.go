package metering

import (
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store"
	"github.com/perfgate/perfgate/store/local"
)

// Form is how events are written.
type Form string

// The forms.
const (
	CloudEvents Form = "cloudevents" // a batch of CloudEvents 1.0, which OpenMeter takes
	Lago        Form = "lago"        // the body of Lago's POST /api/v1/events/batch
)

// Forms lists them.
var Forms = []string{string(CloudEvents), string(Lago)}

// Type is the type of the events.
const Type = "perfgate.usage"

// usage is the content of an event.
type usage struct {
	Account  store.AccountID `json:"account"`
	Key      store.KeyID     `json:"key_id"`
	KeyType  string          `json:"key_type"` // live or test
	Node     string          `json:"node"`
	Requests uint64          `json:"requests"`
	Denied   uint64          `json:"denied"`
	Failed   uint64          `json:"failed"`
	Units    uint64          `json:"units"`
	Billable uint64          `json:"billable"`
	Cost     jsontext.Value  `json:"cost"` // a decimal number
}

type cloudEvent struct {
	SpecVersion string          `json:"specversion"`
	ID          string          `json:"id"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Subject     store.AccountID `json:"subject"`
	Time        string          `json:"time"`
	ContentType string          `json:"datacontenttype"`
	Data        usage           `json:"data"`
}

type lagoEvent struct {
	Transaction  string          `json:"transaction_id"`
	Subscription store.AccountID `json:"external_subscription_id"`
	Code         string          `json:"code"`
	Timestamp    string          `json:"timestamp"` // Unix seconds
	Properties   usage           `json:"properties"`
}

func (f Form) contentType() string {
	if f == CloudEvents {
		return "application/cloudevents-batch+json"
	}
	return "application/json"
}

// encode writes a batch. It is the same each time.
func (f Form) encode(node string, list []local.MeterEvent) ([]byte, error) {
	switch f {
	case CloudEvents:
		out := make([]cloudEvent, len(list))
		for i := range list {
			e := &list[i]
			out[i] = cloudEvent{
				SpecVersion: "1.0", ID: e.ID, Source: "/perfgate/nodes/" + node, Type: Type, Subject: e.Account,
				Time: e.Time.UTC().Format(time.RFC3339), ContentType: "application/json", Data: usageOf(node, e),
			}
		}
		return json.Marshal(out)
	case Lago:
		out := struct {
			Events []lagoEvent `json:"events"`
		}{make([]lagoEvent, len(list))}
		for i := range list {
			e := &list[i]
			out.Events[i] = lagoEvent{e.ID, e.Account, Type, strconv.FormatInt(e.Time.Unix(), 10), usageOf(node, e)}
		}
		return json.Marshal(&out)
	}
	return nil, fmt.Errorf("the form %q of events of usage is unknown", f)
}

func usageOf(node string, e *local.MeterEvent) usage {
	kind := store.Test
	if e.Live {
		kind = store.Live
	}
	return usage{
		Account: e.Account, Key: e.Key, KeyType: kind.String(), Node: node, Requests: e.Requests, Denied: e.Denied, Failed: e.Failed,
		Units: e.Units, Billable: e.Billable, Cost: jsontext.Value(store.Money(e.Cost).AppendDecimal(nil)),
	}
}
