package main_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/perfgate/perfgate/node/config"
)

// documents reads the documents of a YAML file; a name that is there twice is an
// error.
func documents(t *testing.T, file string) []map[string]any {
	t.Helper()
	d := yaml.NewDecoder(strings.NewReader(read(t, file)))
	var out []map[string]any
	for {
		var doc map[string]any
		switch err := d.Decode(&doc); {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			t.Fatalf("%s: %v", file, err)
		}
		out = append(out, doc)
	}
}

// at follows names and indexes into a document; nil is nothing there.
func at(v any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[s]
		case int:
			l, _ := v.([]any)
			if s >= len(l) {
				return nil
			}
			v = l[s]
		}
	}
	return v
}

// loads reports whether a node would take these arguments and variables. An
// argument that names /etc/perfgate/perfgate.toml gets file instead.
func loads(t *testing.T, args []string, env map[string]string, file string) *config.Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "perfgate.toml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if len(args) == 0 || args[0] != "serve" {
		t.Fatalf("the command is %q, want serve", args)
	}
	args = slices.Clone(args[1:])
	for i := range args {
		if args[i] == "/etc/perfgate/perfgate.toml" {
			args[i] = path
		}
	}
	asked := map[string]bool{}
	c, err := config.Load(args, func(name string) (string, bool) {
		asked[name] = true
		v, ok := env[name]
		return v, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range env {
		if !asked[name] {
			t.Errorf("a node does not read %s", name)
		}
	}
	return c
}

const someSecret = "0123456789abcdef0123456789abcdef"

// resolve is the value of a variable in a compose file: a required one is set in
// the shell, and one without a value, which would be passed on from there, is not.
func resolve(v any) string {
	s, _ := v.(string)
	if strings.HasPrefix(s, "${") && strings.Contains(s, ":?") {
		return someSecret
	}
	return s
}

// TestCompose loads the configuration of every node of the compose files.
func TestCompose(t *testing.T) {
	for file, nodes := range map[string]int{"deploy/compose.yaml": 1, "deploy/compose.cluster.yaml": 3} {
		doc := documents(t, file)[0]
		services, _ := doc["services"].(map[string]any)
		if len(services) != nodes {
			t.Errorf("%s: %d services, want %d", file, len(services), nodes)
		}
		volumes, ports := map[string]bool{}, map[string]bool{}
		for name, s := range services {
			env := map[string]string{}
			vars, _ := at(s, "environment").(map[string]any)
			for k, v := range vars {
				env[k] = resolve(v)
			}
			c := loads(t, []string{"serve"}, env, "")
			if nodes > 1 && (c.Node.Name != name || c.Cluster.Advertise != name+":7946" || !slices.Contains(c.Cluster.Join, c.Cluster.Advertise) || c.Cluster.Expect != nodes) {
				t.Errorf("%s: %s: %+v, %+v", file, name, c.Node, c.Cluster)
			}
			volume, to, _ := strings.Cut(at(s, "volumes", 0).(string), ":")
			if _, declared := at(doc, "volumes").(map[string]any)[volume]; to != "/data" || volumes[volume] || !declared {
				t.Errorf("%s: %s: volume %s at %s", file, name, volume, to)
			}
			volumes[volume] = true
			for _, p := range at(s, "ports").([]any) {
				if host := p.(string)[:strings.LastIndexByte(p.(string), ':')]; ports[host] {
					t.Errorf("%s: port %s is published twice", file, host)
				} else {
					ports[host] = true
				}
			}
		}
	}
}

// kubernetes is deploy/kubernetes.yaml by kind and name.
func kubernetes(t *testing.T) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	for _, d := range documents(t, "deploy/kubernetes.yaml") {
		id := d["kind"].(string) + "/" + at(d, "metadata", "name").(string)
		if out[id] != nil || d["apiVersion"] == nil {
			t.Errorf("%s is there twice, or has no apiVersion", id)
		}
		out[id] = d
	}
	return out
}

// TestKubernetes loads the configuration of each pod, and follows the names that
// the objects have for each other.
func TestKubernetes(t *testing.T) {
	objects := kubernetes(t)
	set := objects["StatefulSet/perfgate"]
	pod := at(set, "spec", "template", "spec")
	container := at(pod, "containers", 0)
	var args []string
	for _, a := range at(container, "args").([]any) {
		args = append(args, a.(string))
	}
	replicas := at(set, "spec", "replicas").(int)
	service := at(set, "spec", "serviceName").(string)
	for _, name := range []string{"perfgate-0", "perfgate-1", "perfgate-2"} {
		env := map[string]string{}
		for _, e := range at(container, "env").([]any) {
			v, _ := at(e, "value").(string)
			switch {
			case at(e, "valueFrom", "fieldRef", "fieldPath") == "metadata.name":
				v = name
			case at(e, "valueFrom", "secretKeyRef") != nil:
				v = someSecret
			}
			// Kubernetes expands only variables defined above.
			env[at(e, "name").(string)] = strings.ReplaceAll(v, "$(PERFGATE_NAME)", env["PERFGATE_NAME"])
		}
		c := loads(t, args, env, at(objects["ConfigMap/perfgate"], "data", "perfgate.toml").(string))
		if c.Node.Name != name || c.Cluster.Expect != replicas || len(c.Cluster.Join) != replicas ||
			c.Cluster.Advertise != name+"."+service+":7946" || !slices.Contains(c.Cluster.Join, c.Cluster.Advertise) {
			t.Errorf("%s: %+v, %+v", name, c.Node, c.Cluster)
		}
		if stop := c.Proxy.ShutdownDelay + c.Proxy.Drain; at(pod, "terminationGracePeriodSeconds").(int) < int(stop.Seconds())+20 {
			t.Errorf("a pod is killed before it has stopped, which takes %s and 20 s", stop)
		}
	}
	if objects["Service/"+service] == nil || at(objects["Service/"+service], "spec", "clusterIP") != "None" {
		t.Errorf("the headless service %s is missing", service)
	}
	ports := map[any]bool{}
	for _, p := range at(container, "ports").([]any) {
		ports[at(p, "name")] = true
	}
	for id, o := range objects {
		for _, p := range elements(at(o, "spec", "ports")) {
			if to := at(p, "targetPort"); to != nil && !ports[to] {
				t.Errorf("%s: no container has the port %v", id, to)
			}
		}
	}
}

func elements(v any) []any {
	l, _ := v.([]any)
	return l
}

// TestUnit has systemd read the unit, where systemd is installed, and holds its
// commands and variables to those of the program.
func TestUnit(t *testing.T) {
	const file, binary = "deploy/perfgate.service", "/usr/local/bin/perfgate"
	unit := read(t, file)
	for line := range strings.Lines(unit) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if rest, ok := strings.CutPrefix(value, binary+" "); ok {
			if err := parseCommand(strings.Fields(rest)); err != nil {
				t.Errorf("%s: %s: %v", key, rest, err)
			}
		}
		if key == "Environment" {
			name, v, _ := strings.Cut(value, "=")
			loads(t, []string{"serve"}, map[string]string{name: v}, "")
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	self, err := os.Executable() // systemd looks for the program
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "perfgate.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, binary, self)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("perfgate.service")) {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// TestDockerfile holds the copied directories to those that the program is built
// from.
func TestDockerfile(t *testing.T) {
	h, err := readHouse()
	if err != nil {
		t.Fatal(err)
	}
	text := read(t, "Dockerfile")
	for dir := range h.imports {
		top, _, _ := strings.Cut(dir, "/")
		if top == "." || top == "e2e" {
			continue
		}
		if !strings.Contains(text, "\nCOPY "+top+"/ "+top+"/\n") {
			t.Errorf("the Dockerfile does not copy %s/", top)
		}
	}
	var env map[string]string
	for line := range strings.Lines(text) {
		if vars, ok := strings.CutPrefix(line, "ENV "); ok {
			env = map[string]string{}
			for _, v := range strings.Fields(vars) {
				name, value, _ := strings.Cut(v, "=")
				env[name] = value
			}
		}
	}
	c := loads(t, []string{"serve"}, env, "")
	if c.Node.DataDir != "/data" || c.Admin.Listen != ":8081" {
		t.Errorf("%+v, %+v", c.Node, c.Admin)
	}
}
