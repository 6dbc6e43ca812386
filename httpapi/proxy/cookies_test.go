package proxy

import "testing"

func TestOwnCookies(t *testing.T) {
	for line, want := range map[string]string{
		"a=1; b=2":                          "a=1; b=2",
		"a=1;perfgate=s; b=2":               "a=1; b=2",
		"__Host-perfgate=s":                 "",
		"perfgate=s; perfgate-signin = t":   "",
		"x=perfgate":                        "x=perfgate",
		"perfgates=1; __Host-perfgate=a=b;": "perfgates=1",
	} {
		if got := withoutOwnCookies(line); got != want {
			t.Errorf("%q becomes %q, want %q", line, got, want)
		}
	}
	if !setsOwnCookie("perfgate=x; Path=/") || !setsOwnCookie(" __Host-perfgate=x") || setsOwnCookie("other=perfgate") {
		t.Error("Set-Cookie of perfgate's own")
	}
}
