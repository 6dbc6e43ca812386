package config

import (
	"regexp"
	"slices"
	"strings"
)

const envPrefix = "PERFGATE_"

// env is the environment variable of s: of its flag where it has one, otherwise of
// its key; "" if it has none.
func (s *setting) env() string {
	name := s.flag
	switch {
	case s.key == routesKey, s.key == regionsKey, s.key == oidcRoles, s.key == sinksKey:
		return "" // tables are no text
	case name == "":
		name = s.key
	}
	return envPrefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

// otherVariables are those that are not keys of the file: of this process, and of
// the commands that call a node.
var otherVariables = []string{configEnv, clusterSecretEnv, operatorTokenEnv, PassphraseEnv, EncryptionKeyEnv, PreviousKeyEnv, "PERFGATE_SERVER", "PERFGATE_TOKEN"}

// injected matches the variables that Kubernetes and Docker make for every service
// in reach, such as PERFGATE_PORT=tcp://… for one that is named perfgate.
var injected = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// UnknownVariables names the variables in environ ("NAME=value") that look like
// settings and are none, each in one warning. Their values may be secret.
func UnknownVariables(environ []string) (warnings []error) {
	known := slices.Clone(otherVariables)
	for _, s := range settings {
		if name := s.env(); name != "" {
			known = append(known, name)
		}
	}
	names := slices.Clone(environ)
	slices.Sort(names)
	for _, pair := range names {
		name, _, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(known, name) || injected.MatchString(name) {
			continue
		}
		warnings = append(warnings, &UsageError{Source: name, Reason: "this variable has no effect" + insteadOf(name, known)})
	}
	return warnings
}

// insteadOf says which variable was probably meant by name.
func insteadOf(name string, known []string) string {
	if strings.Contains(name, "ROUTES") {
		return ": routes are set in the file, or as one catch-all route in PERFGATE_UPSTREAM"
	}
	meant := nearest(name[len(envPrefix):], trimmed(known))
	for _, s := range settings {
		if long := (&setting{key: s.key}).env(); long == name {
			meant = strings.TrimPrefix(s.env(), envPrefix)
		}
	}
	if meant == "" {
		return "; no setting has this name"
	}
	return "; no setting has this name; did you mean " + envPrefix + meant + "?"
}

func trimmed(names []string) []string {
	out := make([]string, 0, len(names))
	for _, n := range names {
		out = append(out, strings.TrimPrefix(n, envPrefix))
	}
	return out
}
