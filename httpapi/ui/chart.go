package ui

import (
	"math"
	"strconv"
	"time"

	"github.com/perfgate/perfgate/httpapi/client"
)

// The measures of a chart, in units of its viewBox.
const (
	chartWidth  = 720.0
	chartHeight = 160.0
	maxBars     = 400 // more steps are not drawn: a bar would be narrower than a line
)

// chart is a series of requests by time as bars, and its numbers. A step without requests
// has a bar of no height; a step that is not over yet is marked.
type chart struct {
	Bars            []bar
	Step            string
	Width, Height   float64
	Top             int64 // the value at the upper edge
	Requests        int64
	Denied          int64
	Units, Billable int64
}

// bar is one step. Served stands on Denied.
type bar struct {
	Time               time.Time
	Requests, Denied   int64
	X, W               float64
	ServedY, ServedH   float64
	DeniedY, DeniedH   float64
	Label              string
	Units, WouldRefuse int64
}

// steps are the lengths of the steps of usage.
var steps = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// newChart sums the groups of rows by step, from one time up to another.
func newChart(rows []client.UsageRow, from, to time.Time, step string) *chart {
	c := &chart{Step: step, Width: chartWidth, Height: chartHeight, Top: 1}
	length := steps[step]
	n := int(to.Sub(from) / length)
	if n < 1 || n > maxBars {
		n = 0
	}
	c.Bars = make([]bar, n)
	for i := range c.Bars {
		c.Bars[i].Time = from.Add(time.Duration(i) * length)
	}
	for _, r := range rows {
		c.Requests += r.Requests
		c.Denied += r.Denied
		c.Units += r.Units
		c.Billable += r.Billable
		if i := int(r.Time.Sub(from) / length); !r.Time.Before(from) && i < n {
			b := &c.Bars[i]
			b.Requests += r.Requests
			b.Denied += r.Denied
			b.Units += r.Units
			b.WouldRefuse += r.WouldRefuse
			c.Top = max(c.Top, b.Requests)
		}
	}
	c.Top = roundUp(c.Top)
	c.draw()
	return c
}

// roundUp is the least of 1, 2, 5, 10, 20, 50 … that is not below n.
func roundUp(n int64) int64 {
	for scale := int64(1); ; scale *= 10 {
		for _, m := range []int64{1, 2, 5} {
			if m*scale >= n {
				return m * scale
			}
		}
	}
}

// draw places the bars.
func (c *chart) draw() {
	if len(c.Bars) == 0 {
		return
	}
	slot := c.Width / float64(len(c.Bars))
	for i := range c.Bars {
		b := &c.Bars[i]
		b.X, b.W = float64(i)*slot+slot*0.1, slot*0.8
		b.DeniedH = float64(b.Denied) / float64(c.Top) * c.Height
		b.ServedH = float64(b.Requests-b.Denied) / float64(c.Top) * c.Height
		b.DeniedY = c.Height - b.DeniedH
		b.ServedY = b.DeniedY - b.ServedH
		layout := "2006-01-02 15:04"
		if c.Step == "day" {
			layout = time.DateOnly
		}
		b.Label = b.Time.UTC().Format(layout)
	}
}

// Served is the number of requests that were not denied.
func (c *chart) Served() int64 { return c.Requests - c.Denied }

// First and Last are the labels at the ends of the axis.
func (c *chart) First() string { return c.Bars[0].Label }

// Last is the label at the right end of the axis.
func (c *chart) Last() string { return c.Bars[len(c.Bars)-1].Label }

// Busy are the steps with requests, the newest first, for the table beside the chart.
func (c *chart) Busy() (busy []bar) {
	for i := len(c.Bars) - 1; i >= 0; i-- {
		if c.Bars[i].Requests > 0 {
			busy = append(busy, c.Bars[i])
		}
	}
	return busy
}

// N is a coordinate as SVG takes it, to a tenth: the list of keys has a thousand of them.
func (c *chart) N(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }
