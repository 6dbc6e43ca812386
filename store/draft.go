package store

import "maps"

// draft is the part of the state that is held in memory, as of the command that is
// applied: the published values, and in their place those that the batch has
// changed. It writes their rows, too. Readers see a change when it is published.
type draft struct {
	rows   *pending
	view   *view
	facts  *facts
	rules  *ruleCompiler
	outbox *outbox

	accounts map[AccountID]*AccountState // changed ones; nil means deleted
	tiers    map[string]*Tier            // a changed copy; nil if unchanged
	settings *settings                   // a changed copy; nil if unchanged
	webhooks hookTable                   // a changed copy; nil if unchanged
}

// publish shows readers the changes. Their rows are committed.
func (d *draft) publish() {
	if d.tiers != nil {
		tiers := d.tiers // the field is cleared below, and the view keeps a pointer
		d.view.tiers.Store(&tiers)
	}
	for id, state := range d.accounts { // in any order: each is a cell of its own
		d.view.publish(id, state)
	}
	if d.settings != nil {
		d.facts.settled.Store(d.settings)
	}
	if d.webhooks != nil {
		hooks := d.webhooks // as above
		d.outbox.table.Store(&hooks)
	}
	clear(d.accounts)
	d.tiers, d.settings, d.webhooks = nil, nil, nil
}

// account returns an account; nil if there is none.
func (d *draft) account(id AccountID) *AccountState {
	if state, ok := d.accounts[id]; ok {
		return state
	}
	if cell := d.view.cell(id); cell != nil {
		return cell.Load()
	}
	return nil
}

func (d *draft) putAccount(state *AccountState) {
	d.accounts[state.ID] = state
	d.rows.append(named(rowAccount, state.ID), d.rows.json(&state.Account))
}

func (d *draft) endAccount(id AccountID) {
	d.accounts[id] = nil
	d.rows.delete(named(rowAccount, id))
}

// eachAccount calls use with every account, in any order.
func (d *draft) eachAccount(use func(*AccountState)) {
	for _, state := range maps.Clone(d.accounts) { // use may change it
		if state != nil {
			use(state)
		}
	}
	d.view.each(func(id AccountID, state *AccountState) {
		if _, changed := d.accounts[id]; !changed {
			use(state)
		}
	})
}

// full reports whether there are most accounts or more. They are counted one by one
// only where the batch's own may make the difference.
func (d *draft) full(most int) bool {
	if d.view.len()+len(d.accounts) < most {
		return false
	}
	n := 0
	d.eachAccount(func(*AccountState) { n++ })
	return n >= most
}

// tier returns a tier; nil if there is none.
func (d *draft) tier(name string) *Tier { return d.allTiers()[name] }

func (d *draft) allTiers() map[string]*Tier {
	if d.tiers != nil {
		return d.tiers
	}
	return *d.view.tiers.Load()
}

// changeTiers returns a copy of the tiers that this batch may change.
func (d *draft) changeTiers() map[string]*Tier {
	if d.tiers == nil {
		d.tiers = maps.Clone(d.allTiers())
	}
	return d.tiers
}

// putTier writes a tier and works out the limits of its accounts again. Their rows
// name the tier and stay as they are.
func (d *draft) putTier(tier *Tier) {
	d.changeTiers()[tier.Name] = tier
	d.rows.append(named(rowTier, tier.Name), d.rows.json(tier))
	d.eachAccount(func(state *AccountState) {
		if state.Tier == tier.Name {
			d.accounts[state.ID] = d.rules.newState(&state.Account, tier, state.Allowlist)
		}
	})
}

func (d *draft) removeTier(name string) {
	delete(d.changeTiers(), name)
	d.rows.delete(named(rowTier, name))
}

// set returns the settings.
func (d *draft) set() *settings {
	if d.settings != nil {
		return d.settings
	}
	return d.facts.settled.Load()
}

func (d *draft) putSettings(set settings) {
	d.settings = &set
	d.rows.append(settingsRow, d.rows.json(&set))
}
