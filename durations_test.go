package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"strings"
	"testing"
)

// foreignDurations returns the calls in a file that read a duration in Go's syntax alone,
// which has no days: time.ParseDuration and the duration flags of flag packages.
func foreignDurations(file string, src []byte) (found []string, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		switch sel.Sel.Name {
		case "ParseDuration", "DurationVar", "DurationVarP", "DurationP", "DurationSlice", "DurationSliceVar":
			found = append(found, sel.Sel.Name)
		case "Duration":
			if len(call.Args) == 3 { // a flag; a conversion and a method have fewer
				found = append(found, sel.Sel.Name)
			}
		}
		return true
	})
	return found, nil
}

// Durations are read by httpapi/span alone, so that 30d is accepted wherever 720h is.
func TestDurationsHaveOneParser(t *testing.T) {
	parsers := 0
	err := eachGoFile(func(file string, src []byte) error {
		if strings.HasSuffix(file, "_test.go") {
			return nil
		}
		found, err := foreignDurations(file, src)
		if path.Dir(file) == "httpapi/span" {
			parsers += len(found)
			return err
		}
		for _, call := range found {
			t.Errorf("%s: %s reads no days; use httpapi/span", file, call)
		}
		return err
	})
	if err != nil || parsers == 0 {
		t.Errorf("httpapi/span calls no parser of Go's: %v", err)
	}
	for src, want := range map[string]int{
		`time.ParseDuration(s)`: 1, `fs.DurationVar(&d, "x", 0, "")`: 1, `fs.Duration("x", 0, "")`: 1, `cmd.Flags().Duration("x", 0, "")`: 1,
		`time.Duration(n)`: 0, `x.Duration()`: 0, `span.Parse(s)`: 0,
	} {
		found, err := foreignDurations("p/a.go", []byte("package p\n\nfunc f() { "+src+" }\n"))
		if err != nil || len(found) != want {
			t.Errorf("%s: %v, %v; want %d", src, found, err, want)
		}
	}
}
