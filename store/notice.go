package store

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/perfgate/perfgate/store/ids"
)

// NoticeTime is how a notice's created_at is written: RFC 3339 with milliseconds.
const NoticeTime = "2006-01-02T15:04:05.000Z07:00"

// notice is the body of a webhook.
type notice struct {
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	CreatedAt string    `json:"created_at"`
	Account   AccountID `json:"account"`
	Data      any       `json:"data"`
}

// KeyNotice is a key in a notice: nothing of it is secret.
type KeyNotice struct {
	ID          KeyID   `json:"id"`
	Name        string  `json:"name"`
	Type        KeyType `json:"type"`
	Environment *string `json:"environment"` // null without one, as in the API
	Hint        string  `json:"hint"`
}

// NoticeOfKey shows k in a notice.
func NoticeOfKey(k *Key) KeyNotice {
	n := KeyNotice{ID: k.ID, Name: k.Name, Type: k.Type, Hint: k.Hint}
	if k.Environment != "" {
		n.Environment = &k.Environment
	}
	return n
}

// createdNotice, rotatedNotice, revokedNotice and allowlistNotice are data of notices.
type createdNotice struct {
	Key   KeyNotice `json:"key"`
	Actor Actor     `json:"actor"`
}

type rotatedNotice struct {
	Key           KeyNotice  `json:"key"`
	Replaces      KeyNotice  `json:"replaces"`
	OverlapEndsAt *time.Time `json:"overlap_ends_at"` // null: the replaced key is revoked
	Actor         Actor      `json:"actor"`
}

type revokedNotice struct {
	Key    KeyNotice `json:"key"`
	Reason string    `json:"reason"`
	Actor  Actor     `json:"actor"`
	IP     string    `json:"ip,omitzero"`
}

type allowlistNotice struct {
	Changes jsontext.Value `json:"changes"`
	Actor   Actor          `json:"actor"`
}

// queues are the deliveries that wait, as a transaction leaves them.
type queues struct{ *txn }

// nextPlace is the place of the next notice of this command.
func (t queues) nextPlace() Place {
	p := Place{t.index, t.notices}
	t.notices++
	return p
}

// noticeID is the id of a notice. It holds the cluster's name, since the entries of a
// restored cluster have the numbers of others that receivers have seen.
func (t queues) noticeID(p Place) string {
	h := sha256.New()
	h.Write([]byte(t.state.set().ClusterID))
	var b [12]byte
	binary.BigEndian.PutUint64(b[:], p.Index)
	binary.BigEndian.PutUint32(b[8:], p.N)
	h.Write(b[:])
	sum := h.Sum(nil)
	id := ids.Append([]byte("msg_"), binary.BigEndian.Uint64(sum), ids.Uint64Len)
	return string(ids.Append(id, binary.BigEndian.Uint64(sum[8:]), ids.Uint64Len))
}

// notice makes the delivery of a notice, the same for each endpoint.
func (t queues) notice(p Place, account AccountID, kind string, data any) *Delivery {
	d := &Delivery{Place: p, Notice: t.noticeID(p), Type: kind, At: t.when.at, Queued: t.when.wall(), State: Pending}
	body, err := json.Marshal(&notice{d.Notice, kind, d.At.UTC().Format(NoticeTime), account, data}, json.Deterministic(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		t.rows.fault(fmt.Errorf("encode a notice: %w", err))
	}
	d.Body = body
	return d
}

// notify queues a notice for each endpoint of account that wants it. Nodes of an earlier
// level agree: they know no endpoint.
func (t *txn) notify(account AccountID, kind string, data any) {
	var d *Delivery
	for _, w := range t.state.hooks()[account] {
		if !w.wants(kind) {
			continue
		}
		if d == nil {
			d = (queues{t}).notice((queues{t}).nextPlace(), account, kind, data)
		}
		(queues{t}).queueFor(w, d)
	}
}

// queueFor queues d for w, within the bounds of [MaxPending].
func (t queues) queueFor(w *Webhook, d *Delivery) bool {
	q := t.rows.queue(w.ID)
	full := q.Pending >= MaxPending || t.rows.allPending() >= allPending || t.pendingOf(w.Account) >= MaxPending
	if full {
		q.Dropped++
		q.Lost = true
	} else {
		q.Pending++
		t.rows.addPending(1)
		t.rows.append(deliveryRow(rowPending, w.ID, d.Place), t.rows.json(d))
		t.queued = true
	}
	t.rows.putQueue(w.ID, q)
	return !full
}

// pendingOf counts the deliveries that wait for all endpoints of an account: it must not
// use up what all accounts share.
func (t queues) pendingOf(account AccountID) (n int64) {
	for _, w := range t.state.hooks()[account] {
		n += t.rows.queue(w.ID).Pending
	}
	return n
}

// queue reads the state of an endpoint's deliveries.
func (p *pending) queue(id WebhookID) Queue {
	q, err := unpackQueue(p.get(queueRow(id)))
	if err != nil {
		p.fault(fmt.Errorf("read the queue of %s: %w", id, err))
	}
	return q
}

func (p *pending) putQueue(id WebhookID, q Queue) { p.put(queueRow(id), packQueue(q)) }

// allPending counts the deliveries that wait for all endpoints.
func (p *pending) allPending() int64 {
	return unpackGranted(p.get(outboxRow))
}

func (p *pending) addPending(n int64) {
	if n != 0 {
		p.put(outboxRow, binary.BigEndian.AppendUint64(nil, uint64(max(0, p.allPending()+n))))
	}
}
