package store

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-json-experiment/json"
)

// Webhooks lists the endpoints of an account, in order of creation. They are not changed.
func (o *outbox) Webhooks(account AccountID) []*Webhook { return (*o.table.Load())[account] }

// Webhook returns an endpoint of an account; nil if there is none.
func (o *outbox) Webhook(account AccountID, id WebhookID) *Webhook {
	for _, w := range o.Webhooks(account) {
		if w.ID == id {
			return w
		}
	}
	return nil
}

// AllWebhooks lists all endpoints.
func (o *outbox) AllWebhooks() (all []*Webhook) {
	table := *o.table.Load()
	for _, id := range slices.Sorted(maps.Keys(table)) {
		all = append(all, table[id]...)
	}
	return all
}

// Queued holds a token after deliveries were queued. One goroutine receives.
func (o *outbox) Queued() <-chan struct{} { return o.wake }

// Queue reads the state of an endpoint's deliveries.
func (o *outbox) Queue(id WebhookID) (Queue, error) {
	row, err := o.from.get(queueRow(id))
	if err != nil {
		return Queue{}, fmt.Errorf("read the queue of %s: %w", id, err)
	}
	return unpackQueue(row)
}

// AllPending counts the deliveries that wait for all endpoints.
func (o *outbox) AllPending() (int64, error) {
	row, err := o.from.get(outboxRow)
	return unpackGranted(row), err
}

// PendingDeliveries calls use with the deliveries that wait for an endpoint, the oldest
// first, until it returns false.
func (o *outbox) PendingDeliveries(id WebhookID, use func(*Delivery) bool) error {
	err := o.from.scan(deliveryRows(rowPending, id), func(row, value []byte) error {
		d, err := unpackDelivery(row, value)
		if err == nil && !use(d) {
			err = errEnough
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the deliveries of %s: %w", id, err)
	}
	return nil
}

// Delivery reads one delivery of an endpoint; nil if there is none.
func (o *outbox) Delivery(id WebhookID, p Place) (*Delivery, error) {
	for _, table := range []byte{rowFinished, rowPending} {
		row := deliveryRow(table, id, p)
		value, err := o.from.get(row)
		if err != nil {
			return nil, fmt.Errorf("read a delivery of %s: %w", id, err)
		}
		if value != nil {
			return unpackDelivery(row, value)
		}
	}
	return nil, nil
}

// Deliveries lists up to limit deliveries of an endpoint before a place, or from the
// newest on, that are in state, or in any; and whether there are more.
func (o *outbox) Deliveries(id WebhookID, before *Place, state DeliveryState, limit int) (page []*Delivery, more bool, err error) {
	tables := []byte{rowPending, rowFinished}
	switch state {
	case Pending:
		tables = tables[:1]
	case Delivered, Undelivered:
		tables = tables[1:]
	}
	for _, table := range tables {
		list, err := o.newest(table, id, before, state, limit+1)
		if err != nil {
			return nil, false, fmt.Errorf("list the deliveries of %s: %w", id, err)
		}
		page = append(page, list...)
	}
	slices.SortFunc(page, func(a, b *Delivery) int { return b.Place.Compare(a.Place) })
	if len(page) > limit {
		return page[:limit], true, nil
	}
	return page, false, nil
}

func (o *outbox) newest(table byte, id WebhookID, before *Place, state DeliveryState, limit int) (page []*Delivery, err error) {
	from := deliveryRows(table, id)
	to := prefixEnd(from)
	if before != nil {
		to = deliveryRow(table, id, *before)
	}
	it, err := o.from.iterate(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.Last(); ok && len(page) < limit; ok = it.Prev() {
		d, err := unpackDelivery(it.Key(), it.Value())
		if err != nil {
			return nil, err
		}
		if state == "" || d.State == state {
			page = append(page, d)
		}
	}
	return page, it.Error()
}

// readHooks reads all endpoints.
func (d database) readHooks() (hookTable, error) {
	table := hookTable{}
	err := d.scan([]byte{rowWebhook}, func(_, value []byte) error {
		w := new(Webhook)
		if err := json.Unmarshal(value, w); err != nil {
			return err
		}
		table[w.Account] = append(table[w.Account], w)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the webhooks: %w", err)
	}
	for _, list := range table {
		slices.SortFunc(list, func(a, b *Webhook) int { return int(a.Created) - int(b.Created) })
	}
	return table, nil
}
