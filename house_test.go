package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// The house rules that a machine can hold. The linter does not hold them too:
// here they hold where no linter is installed.
const (
	maxFileLines = 400 // of any Go file, tests too
	maxFuncLines = 60  // of a function outside of tests, from "func" to its closing brace
	maxFields    = 20  // of a struct outside of tests; an embedded one counts once
	maxMethods   = 40  // of a type outside of tests, whatever their receiver; those of embedded types do not count
)

// rulesOf returns every house rule that a file breaks.
func rulesOf(file string, src []byte) (faults []string, err error) {
	if n := bytes.Count(src, []byte("\n")); n > maxFileLines {
		faults = append(faults, fmt.Sprintf("%s: %d lines, at most %d: split it by topic", file, n, maxFileLines))
	}
	if strings.HasSuffix(file, "_test.go") {
		return faults, nil
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, src, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if t, ok := n.(*ast.TypeSpec); ok {
			if s, ok := t.Type.(*ast.StructType); ok && s.Fields.NumFields() > maxFields {
				faults = append(faults, fmt.Sprintf("%s: %s has %d fields, at most %d: group them", file, t.Name.Name, s.Fields.NumFields(), maxFields))
			}
		}
		return true
	})
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		n, name := set.Position(fn.End()).Line-set.Position(fn.Pos()).Line+1, funcName(fn)
		if n > maxFuncLines {
			faults = append(faults, fmt.Sprintf("%s: %s has %d lines, at most %d: split it by topic", file, name, n, maxFuncLines))
		}
	}
	// A package's comment is in doc.go; a command of one file keeps it there.
	if f.Doc != nil && path.Base(file) != "doc.go" && f.Name.Name != "main" {
		faults = append(faults, fmt.Sprintf("%s: move the comment of package %s to doc.go", file, f.Name.Name))
	}
	if path.Base(file) == "doc.go" {
		if want := "Package " + f.Name.Name + " "; f.Name.Name != "main" && !strings.HasPrefix(f.Doc.Text(), want) {
			faults = append(faults, fmt.Sprintf("%s: the comment must begin with %q", file, want))
		}
	}
	return faults, nil
}

// funcName returns the name of a function, or type and name of a method.
func funcName(fn *ast.FuncDecl) string {
	if typ := receiver(fn); typ != "" {
		return typ + "." + fn.Name.Name
	}
	return fn.Name.Name
}

// receiver returns the name of the type that a method belongs to, "" for a function.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil {
		return ""
	}
	typ := fn.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.ParenExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

// methods counts methods by directory and type: a package's types grow over files.
type methods map[string]int

// add counts the methods that a file declares outside of tests.
func (m methods) add(file string, src []byte) error {
	if strings.HasSuffix(file, "_test.go") {
		return nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), file, src, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil {
			m[path.Join(path.Dir(file), receiver(fn))]++
		}
	}
	return nil
}

// faults returns every type that has too many.
func (m methods) faults() (faults []string) {
	for _, typ := range slices.Sorted(maps.Keys(m)) {
		if n := m[typ]; n > maxMethods {
			faults = append(faults, fmt.Sprintf("%s has %d methods, at most %d: move some to a type that owns the fields they use", typ, n, maxMethods))
		}
	}
	return faults
}

// TestHouseRules holds the rules for every file and type, and doc.go for every package.
func TestHouseRules(t *testing.T) {
	documented := map[string]bool{".": true} // main.go is the whole command
	declared := methods{}
	err := eachGoFile(func(file string, src []byte) error {
		faults, err := rulesOf(file, src)
		for _, fault := range faults {
			t.Error(fault)
		}
		dir := path.Dir(file)
		documented[dir] = documented[dir] || path.Base(file) == "doc.go"
		return errors.Join(err, declared.add(file, src))
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range declared.faults() {
		t.Error(fault)
	}
	if len(documented) < 10 {
		t.Fatalf("the module's tree was not found; saw %v", slices.Sorted(maps.Keys(documented)))
	}
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			t.Errorf("%s has no doc.go", dir)
		}
	}
}

// TestRulesOf shows rulesOf each kind of fault, and each bound from both sides.
func TestRulesOf(t *testing.T) {
	long := func(lines int) string { return "package p\n" + strings.Repeat("//\n", lines-1) }
	fn := func(lines int) string { return "package p\n\nfunc f() {\n" + strings.Repeat("\n", lines-2) + "}\n" }
	fields := func(n int) string { return "package p\n\ntype t struct {\n" + strings.Repeat("_ int\n", n) + "}\n" }
	for _, c := range []struct{ file, src, want string }{
		{"p/a.go", long(maxFileLines), ""},
		{"p/a.go", long(maxFileLines + 1), "p/a.go: 401 lines, at most 400: split it by topic"},
		{"p/a_test.go", long(maxFileLines + 1), "p/a_test.go: 401 lines, at most 400: split it by topic"},
		{"p/a.go", fn(maxFuncLines), ""},
		{"p/a.go", fn(maxFuncLines + 1), "p/a.go: f has 61 lines, at most 60: split it by topic"},
		{"p/a_test.go", fn(maxFuncLines + 1), ""},
		{"p/a.go", fields(maxFields), ""},
		{"p/a.go", fields(maxFields + 1), "p/a.go: t has 21 fields, at most 20: group them"},
		{"p/a_test.go", fields(maxFields + 1), ""},
		{"p/doc.go", "// Package p is a package.\npackage p\n", ""},
		{"p/doc.go", "package p\n", `p/doc.go: the comment must begin with "Package p "`},
		{"p/doc.go", "// Package q is a package.\npackage p\n", `p/doc.go: the comment must begin with "Package p "`},
		{"p/a.go", "// Package p is a package.\npackage p\n", "p/a.go: move the comment of package p to doc.go"},
		{"main.go", "// Perfgate is a command.\npackage main\n", ""},
	} {
		faults, err := rulesOf(c.file, []byte(c.src))
		if got := strings.Join(faults, "; "); err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.file, got, err, c.want)
		}
	}
}

// TestMethods shows methods each kind of receiver, and the bound from both sides. The
// methods of a type in several files count together, those of a type with the same name
// in another package and those in tests do not.
func TestMethods(t *testing.T) {
	of := func(receiver string, n int) string {
		return "package p\n" + strings.Repeat("func ("+receiver+") m() {}\n", n)
	}
	type file struct{ name, src string }
	const fault = "p/t has 41 methods, at most 40: move some to a type that owns the fields they use"
	for _, c := range []struct {
		name  string
		files []file
		want  string
	}{
		{"at the bound", []file{{"p/a.go", of("*t", maxMethods)}}, ""},
		{"one more", []file{{"p/a.go", of("*t", maxMethods+1)}}, fault},
		{"values", []file{{"p/a.go", of("v t", maxMethods+1)}}, fault},
		{"two files and receivers", []file{{"p/a.go", of("v *t", maxMethods)}, {"p/b.go", of("t", 1)}}, fault},
		{"one type parameter", []file{{"p/a.go", of("v *t[A]", maxMethods)}, {"p/b.go", of("v t[A]", 1)}}, fault},
		{"two type parameters", []file{{"p/a.go", of("v *t[A, B]", maxMethods)}, {"p/b.go", of("v (t[A, B])", 1)}}, fault},
		{"tests", []file{{"p/a.go", of("*t", maxMethods)}, {"p/a_test.go", of("*t", 1)}}, ""},
		{"two types", []file{{"p/a.go", of("*t", maxMethods)}, {"p/b.go", of("*u", maxMethods)}}, ""},
		{"two packages", []file{{"p/a.go", of("*t", maxMethods)}, {"q/a.go", of("*t", maxMethods)}}, ""},
		{"functions", []file{{"p/a.go", "package p\n" + strings.Repeat("func f() {}\n", maxMethods+1)}}, ""},
	} {
		m := methods{}
		for _, f := range c.files {
			if err := m.add(f.name, []byte(f.src)); err != nil {
				t.Fatal(err)
			}
		}
		if got := strings.Join(m.faults(), "; "); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
