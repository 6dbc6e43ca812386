package store

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store/ids"
)

// LevelOfWebhooks is the level of nodes that send webhooks. A cluster has no endpoint
// before all of its nodes have it, and without an endpoint nothing is queued.
const LevelOfWebhooks = 6

// WebhookID names an endpoint: "whk_" and 22 base62 characters.
type WebhookID string

// The types of notices.
const (
	NoticeThreshold = "usage.threshold"
	NoticeRateLimit = "rate_limit.exceeded"
	NoticeCreated   = "key.created"
	NoticeRotated   = "key.rotated"
	NoticeRevoked   = "key.revoked"
	NoticeExpiring  = "key.expiring"
	NoticeRotation  = "key.rotation_due"
	NoticeExposed   = "key.exposed"
	NoticeFailures  = "auth.failures"
	NoticeAnomaly   = "key.anomaly"
	NoticeAllowlist = "allowlist.updated"
	NoticeIncident  = "incident.opened"
	NoticeTest      = "webhook.test"
)

// Notices lists the types of notices, sorted.
var Notices = []string{
	NoticeAllowlist, NoticeFailures, NoticeIncident, NoticeAnomaly, NoticeCreated, NoticeExpiring, NoticeExposed,
	NoticeRevoked, NoticeRotated, NoticeRotation, NoticeRateLimit, NoticeThreshold, NoticeTest,
}

// The bounds of webhooks.
const (
	MaxWebhooks = 10     // endpoints of an account
	allWebhooks = 10_000 // endpoints of the cluster, which are all held in memory
	MaxURL      = 2_048  // bytes of an endpoint's URL
	// MaxPending bounds the deliveries that wait for the endpoints of an account, and allPending
	// those for all endpoints: with bodies of some 700 bytes, 70 MB and 700 MB on each node. A notice beyond
	// a bound is not queued for that endpoint; it is counted, and audited with the next attempt.
	MaxPending = 100_000
	allPending = 1_000_000
	// Finished deliveries are kept for the log and for redelivery.
	MaxFinished     = 10_000 // of an endpoint, the newest
	FinishedKept    = 7 * 24 * time.Hour
	DeliveryTime    = 72 * time.Hour // that a delivery is tried for
	MaxTries        = 10             // attempts that a delivery's log shows, the newest
	MaxDone         = 1_000          // results in one command
	maxOverlap      = 30 * 24 * time.Hour
	maxSecret       = 128
	maxOlder        = 3 // secrets before the old one
	MaxTryError     = 300
	MaxRedeliveries = 1_000 // that one command queues again
)

// Webhook is an endpoint that is told of an account's events. One read from the store is
// shared and must not be changed.
type Webhook struct {
	ID      WebhookID `json:"id"`
	Account AccountID `json:"account"`
	URL     string    `json:"url"`
	Events  []string  `json:"events,omitzero"` // types, sorted; none is all
	Enabled bool      `json:"enabled"`
	// Disabled says why perfgate has disabled it; "" if an owner did.
	Disabled string `json:"disabled,omitzero"`
	Signing
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Created   uint64    `json:"created"`
	Modified  uint64    `json:"modified"` // ETag
}

// Signing are the secrets of an endpoint. They are in the state, and in no answer, event
// or log.
type Signing struct {
	Secret    string    `json:"secret"`
	OldSecret string    `json:"old_secret,omitzero"` // until OldUntil
	OldUntil  time.Time `json:"old_until,omitzero"`
	// Older are those before OldSecret whose overlaps go on, the oldest first: at most maxOlder.
	Older []OlderSecret `json:"older,omitzero"`
}

// OlderSecret is a secret that was replaced more than once.
type OlderSecret struct {
	Secret string    `json:"secret"`
	Until  time.Time `json:"until"`
}

// OldSecrets lists the replaced secrets that still sign at now, the oldest first.
func (s *Signing) OldSecrets(now time.Time) (list []string) {
	for _, o := range s.Older {
		if now.Before(o.Until) {
			list = append(list, o.Secret)
		}
	}
	if s.OldSecret != "" && now.Before(s.OldUntil) {
		list = append(list, s.OldSecret)
	}
	return list
}

// LastOldUntil is when the last replaced secret ends.
func (s *Signing) LastOldUntil() time.Time {
	last := s.OldUntil
	for _, o := range s.Older {
		if o.Until.After(last) {
			last = o.Until
		}
	}
	return last
}

// shown is w without its secrets, for results that are stored.
func (w *Webhook) shown() *Webhook {
	c := *w
	c.Signing = Signing{OldUntil: w.LastOldUntil()}
	return &c
}

// wants reports whether w is told of events of this type. A test call's goes to its
// endpoint alone.
func (w *Webhook) wants(kind string) bool {
	return w.Enabled && (len(w.Events) == 0 || slices.Contains(w.Events, kind))
}

// Place is the place of a delivery in the order of its endpoint: the Raft index of the
// entry that caused it, and its number among the notices of the entry.
type Place struct {
	Index uint64 `json:"index"`
	N     uint32 `json:"n"`
}

// Compare orders places.
func (p Place) Compare(o Place) int {
	return cmp.Or(cmp.Compare(p.Index, o.Index), cmp.Compare(p.N, o.N))
}

const deliveryPrefix = "dlv_"

// ID is the delivery's name, which sorts like its place.
func (p Place) ID() string {
	b := ids.Append([]byte(deliveryPrefix), p.Index, ids.Uint64Len)
	return string(ids.Append(b, uint64(p.N), eventNLen))
}

// PlaceOf reads an ID.
func PlaceOf(id string) (p Place, ok bool) {
	if len(id) != len(deliveryPrefix)+ids.Uint64Len+eventNLen || id[:len(deliveryPrefix)] != deliveryPrefix {
		return p, false
	}
	digits := id[len(deliveryPrefix):]
	n, ok := ids.Number(digits[ids.Uint64Len:])
	index, fits := ids.Number(digits[:ids.Uint64Len])
	p = Place{index, uint32(n)}
	return p, ok && fits && p.ID() == id
}

// DeliveryState is how far a delivery is.
type DeliveryState string

// The states of deliveries.
const (
	Pending     DeliveryState = "pending"
	Delivered   DeliveryState = "delivered"
	Undelivered DeliveryState = "failed"
)

// Delivery is one notice on its way to one endpoint. It is immutable.
type Delivery struct {
	Place    Place          `json:"-"`
	Notice   string         `json:"notice"` // webhook-id: the same for all endpoints and attempts
	Type     string         `json:"type"`
	At       time.Time      `json:"at"` // of the cause
	State    DeliveryState  `json:"state"`
	Queued   time.Time      `json:"queued"` // deliveries are tried from here on
	Attempts int            `json:"attempts,omitzero"`
	Next     time.Time      `json:"next,omitzero"`  // not before; zero is at once
	Ended    time.Time      `json:"ended,omitzero"` // delivered, or given up
	Tries    []Try          `json:"tries,omitzero"` // the newest MaxTries
	Body     jsontext.Value `json:"body"`
}

// Try is one attempt at a delivery.
type Try struct {
	At         time.Time `json:"at"`
	Status     int       `json:"status,omitzero"` // 0 without an answer
	Error      string    `json:"error,omitzero"`
	DurationMS int64     `json:"duration_ms"`
}

// Queue is the state of an endpoint's deliveries.
type Queue struct {
	Pending  int64
	Finished int64 // in the log
	Dropped  int64 // not queued since the endpoint was made: a bound was reached
	Lost     bool  // some of them since the last audit event about that
}

// hookTable is the endpoints by account, in order of creation. It is never changed once
// published.
type hookTable map[AccountID][]*Webhook

// outbox is the published part of the webhooks. Apply alone replaces it.
type outbox struct {
	from  database
	table atomic.Pointer[hookTable]
	wake  chan struct{} // holds a token after deliveries were queued
}

func (o *outbox) init(d database) {
	o.from, o.wake = d, make(chan struct{}, 1)
	o.table.Store(&hookTable{})
}

// rouse tells the sender that there is something to send.
func (o *outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func webhookRow(account AccountID, id WebhookID) []byte {
	return append(accountRows(rowWebhook, account), id...)
}

// deliveryRows is the prefix of an endpoint's deliveries in table v or b.
func deliveryRows(table byte, id WebhookID) []byte { return append(named(table, id), 0) }

func deliveryRow(table byte, id WebhookID, p Place) []byte {
	b := binary.BigEndian.AppendUint64(deliveryRows(table, id), p.Index)
	return binary.BigEndian.AppendUint32(b, p.N)
}

// placeIn reads the place at the end of a delivery's row.
func placeIn(row []byte) Place {
	if len(row) < 12 {
		return Place{}
	}
	row = row[len(row)-12:]
	return Place{binary.BigEndian.Uint64(row), binary.BigEndian.Uint32(row[8:])}
}

// queueRow holds an endpoint's [Queue].
func queueRow(id WebhookID) []byte { return named(rowPending, id) }

const queueVersion = 1

func packQueue(q Queue) []byte {
	b := []byte{queueVersion}
	b = binary.AppendUvarint(b, uint64(q.Pending))
	b = binary.AppendUvarint(b, uint64(q.Finished))
	b = binary.AppendUvarint(b, uint64(q.Dropped))
	if q.Lost {
		return append(b, 1)
	}
	return append(b, 0)
}

func unpackQueue(row []byte) (q Queue, err error) {
	if row == nil {
		return q, nil
	}
	u := unpack(string(row))
	u.Version(queueVersion)
	q = Queue{Pending: int64(u.Uvarint()), Finished: int64(u.Uvarint()), Dropped: int64(u.Uvarint()), Lost: u.Bool()}
	return q, u.err()
}
