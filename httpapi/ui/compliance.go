package ui

import "github.com/perfgate/perfgate/httpapi/client"

// complianceView is the report for an auditor.
type complianceView struct {
	*client.Compliance
	Open int // controls that need attention
}

func compliancePage(v *visit) error {
	out, err := v.api.Compliance(v.context())
	if err != nil {
		return err
	}
	b := complianceView{Compliance: out}
	for _, c := range out.Data {
		if c.State != "met" {
			b.Open++
		}
	}
	return v.show("compliance", "Compliance", b)
}

// complianceReport is the report as a page to print, or as JSON to keep.
func complianceReport(v *visit) error {
	if v.query("format") == "html" {
		return v.stream("/v1/compliance", nil, "text/html", "compliance.html")
	}
	return v.stream("/v1/compliance", nil, "application/json", "compliance.json")
}
