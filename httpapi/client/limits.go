package client

import (
	"encoding/json"
	"time"
)

// LimitRule is one more policy of an account or tier, for the requests that Match picks.
type LimitRule struct {
	Name     string     `json:"name"`
	Match    RuleMatch  `json:"match"`
	Per      string     `json:"per"` // account, key
	Requests int64      `json:"requests"`
	Window   string     `json:"window"` // 1m, 1h, 1d, month
	Burst    *int64     `json:"burst"`
	Shadow   bool       `json:"shadow"`
	Until    *time.Time `json:"until"`
}

// RuleMatch picks requests; a nil member picks all.
type RuleMatch struct {
	Type        *string `json:"type"`
	Environment *string `json:"environment"`
	Route       *string `json:"route"`
}

// Policy is the standing of one policy. Limit and Remaining are units, or money for the
// policy budget.
type Policy struct {
	Policy    string      `json:"policy"`
	Limit     json.Number `json:"limit"`
	Window    string      `json:"window"`
	Remaining json.Number `json:"remaining"`
	Reset     int64       `json:"reset"` // Unix seconds
	Shadow    bool        `json:"shadow"`

	KeyID string `json:"key_id,omitempty"` // in an answer about several keys
}

// Proposal is a limit to simulate: PerMinute or Rule, a [LimitRule] as JSON.
type Proposal struct {
	PerMinute *int64          `json:"requests_per_minute,omitempty"`
	Burst     *int64          `json:"burst,omitempty"`
	Rule      json.RawMessage `json:"rule,omitempty"`
	Type      string          `json:"type,omitempty"`
	Key       string          `json:"key,omitempty"`
	From      *time.Time      `json:"from,omitempty"`
	To        *time.Time      `json:"to,omitempty"`
}

// Simulation is what a proposed limit would have refused.
type Simulation struct {
	From        time.Time `json:"from"`
	To          time.Time `json:"to"`
	Resolution  string    `json:"resolution"`
	Limit       int64     `json:"limit"`
	Window      string    `json:"window"`
	Requests    int64     `json:"requests"`
	WouldRefuse struct {
		Even   int64 `json:"even"`    // if requests came evenly within each step
		AtOnce int64 `json:"at_once"` // if they came at its begin
	} `json:"would_refuse"`
	LowestLimit struct {
		Even    int64 `json:"even"`
		Certain int64 `json:"certain"` // refuses nothing whenever they came
	} `json:"lowest_limit"`
	FirstRefusals []SimulatedMinute `json:"first_refusals"`
	Notes         []string          `json:"notes"`
}

// SimulatedMinute is a step in which the proposed limit would have refused requests.
type SimulatedMinute struct {
	Time        time.Time `json:"time"`
	Key         *string   `json:"key"`
	Requests    int64     `json:"requests"`
	WouldRefuse int64     `json:"would_refuse"`
}
