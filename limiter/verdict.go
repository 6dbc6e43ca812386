package limiter

// verdict collects the answers of the policies to one request, in header order,
// before anything is spent.
type verdict struct {
	d         *Decision
	now       int64
	monthLeft int64 // nanoseconds to the month's end
	dayLeft   int64
	look      bool
	lend      bool
	shared    bool

	periodLeft int64 // nanoseconds to the end of the calendar window that is asked
	rule       ruleVerdict

	refused bool
	hard    bool  // a refusal has another reason than tokens that others may have
	wait    int64 // nanoseconds; the longest of the refusals
}

// minute asks a bucket, which it brings to now.
func (v *verdict) minute(p Policy, b *bucket, l *Limit, units int64) {
	b.drain(v.now, l.PerMinute)
	burst := l.burst()
	if units > burst {
		v.refuse(p, span(ceil(uint64(b.used), uint64(l.PerMinute))), true)
	} else if over := b.used.over(burst, units, minute); over > 0 && units > 0 {
		v.refuse(p, span(ceil(over, uint64(l.PerMinute))), false)
	}
}

// month asks a quota for need. More than the whole month has is refused; more
// than this node's chunk has is a want, and the request is pending.
func (v *verdict) month(p Policy, q *quota, limit, need int64) {
	switch {
	case need == 0 || need <= q.chunk && need <= q.left(limit):
	case need > limit:
		v.refuse(p, v.periodLeft, true)
	case v.shared && !v.lend && need > q.left(limit) && !q.exhausted(v.now):
		v.d.Pending = true
		v.send(Want{Policy: p, Month: q.month, Recall: true})
	case need > q.left(limit) || q.refusedUnder(limit, v.now):
		v.refuse(p, v.periodLeft, false)
		if !v.look && !v.shared && v.now-q.asked >= refusedAgain {
			v.want(p, q, limit, Want{Units: need - q.chunk})
		}
	case v.lend:
	case !v.look:
		v.d.Pending = true
		v.want(p, q, limit, Want{Units: q.next(limit, need), Need: need - q.chunk})
	}
}

func (v *verdict) want(p Policy, q *quota, limit int64, w Want) {
	q.ask(limit, v.now)
	w.Policy, w.Month = p, q.month
	v.send(w)
}

// send appends w to the wants of the decision.
func (v *verdict) send(w Want) {
	if v.rule.asked {
		v.rule.wants, v.rule.recall, v.rule.units, v.rule.need = true, w.Recall, w.Units, w.Need
		return
	}
	v.d.want(w)
}

// refuse notes a refusal. The longest wait is the answer, since before it ends
// the request would only be refused again; and before any wait, that none helps.
func (v *verdict) refuse(p Policy, wait int64, never bool) {
	if v.rule.shadow {
		v.rule.would = true
		return
	}
	if !v.refused || never && !v.d.Never || never == v.d.Never && wait > v.wait {
		v.d.Denied, v.wait, v.rule.denied = p, wait, true
	}
	v.refused, v.hard = true, true
	v.d.Never = v.d.Never || never
}

// settle writes the verdict down. A refusal stands even if something is pending.
func (v *verdict) settle() {
	switch d := v.d; {
	case v.refused:
		d.Pending = false
		d.RetryAfter = seconds(v.wait)
		if v.hard || v.look {
			d.NShort = 0
			if d.Rules != nil {
				d.Rules.short = nil
			}
		}
	case !d.Pending:
		d.Allowed = true
	}
}

// minute shows a bucket that has been brought to now.
func (d *Decision) minute(p Policy, b *bucket, l *Limit) {
	d.show(State{
		Policy:    p,
		Limit:     l.PerMinute,
		Remaining: b.used.left(l.burst(), minute),
		Reset:     span(ceil(uint64(b.used), uint64(l.PerMinute))),
	})
}

// month shows a quota.
func (d *Decision) month(p Policy, q *quota, limit, monthLeft int64) {
	d.show(State{Policy: p, Limit: limit, Remaining: max(q.left(limit), 0), Reset: monthLeft})
}

func (d *Decision) show(s State) {
	d.States[d.N] = s
	if d.N > 0 && s.before(&d.States[d.Binding]) {
		d.Binding = d.N
	}
	d.N++
}

// want appends w; there are never more than the three monthly policies.
func (d *Decision) want(w Want) {
	d.Wants[d.NWants] = w
	d.NWants++
}
