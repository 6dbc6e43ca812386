// Package ui is the dashboard: pages that the admin listener serves to browsers at "/".
//
// # Idea
//
// The dashboard is an ordinary client of the management API. A page's handler calls the
// API in the same process, through [http.Handler], with the browser's session cookie,
// address and request id. The API therefore decides what a user may see and change, and
// audits it; this package only chooses which links and buttons it shows. Pages are
// rendered on the server and work without script. The modules under assets add what a
// page alone cannot do: the clipboard, dialogs, and updates without a reload.
//
// # Forms
//
// A form posts to the URL of its page. The Origin of the request must be the host that
// was asked for. A change is answered with 303 to a page, so that a reload does not
// repeat it. Two answers are rendered straight from the POST, because their content
// exists only once: a new key's secret, and the confirmation of a revocation. Each form
// carries an Idempotency-Key, so that a repeated POST changes nothing twice.
//
// # Content Security Policy
//
// Nothing is loaded from another host, and no script or style stands in a page. Values
// reach pages through html/template alone; SVG uses attributes and classes.
//
// # Live pages
//
// A page may define the template "live" for the part that changes while it is open. An
// EventSource that asks for the page gets that part whenever it has changed.
//
// # Goroutines
//
// A revocation is called for in a goroutine of its own, which ends with the call, so that the
// page can grow meanwhile. There are no locks: a [UI] is immutable after [New].
package ui
