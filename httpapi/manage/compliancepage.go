package manage

import (
	"bytes"
	_ "embed"
	"html/template"

	"github.com/perfgate/perfgate/httpapi/fault"
	"github.com/perfgate/perfgate/httpapi/rest"
)

// compliancePage is the report to print.
//
//go:embed compliance.html
var compliancePage string

var complianceTemplate = template.Must(template.New("compliance").Parse(compliancePage))

// pagePolicy lets a page have its own style and nothing else.
const pagePolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"

// prefersPage holds when Accept names text/html with more weight than JSON.
func prefersPage(c *rest.Call) bool {
	accept := c.Request.Header.Values("Accept")
	page, named := fault.Accepts(accept, "text/html")
	json, _ := fault.Accepts(accept, "application/json")
	return named && page > json
}

// page is v as HTML.
func (v *complianceView) page() ([]byte, error) {
	var b bytes.Buffer
	err := complianceTemplate.Execute(&b, v)
	return b.Bytes(), err
}
