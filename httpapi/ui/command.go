package ui

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// maxCommand bounds a command line, in bytes: Linux takes an argument of 128 KiB.
const maxCommand = 96 << 10

// command is a line for a POSIX shell: a command of perfgate, and the text that it reads.
type command struct {
	words []string
	stdin []string // lines; nil for none
}

// perfgate begins a command.
func perfgate(words ...string) *command {
	return &command{words: append([]string{"perfgate"}, words...)}
}

// args adds arguments. One that begins with a hyphen would be read as a flag.
func (c *command) args(values ...string) *command {
	for _, v := range values {
		if strings.HasPrefix(v, "-") {
			c.words = append(c.words, "--")
			break
		}
	}
	c.words = append(c.words, values...)
	return c
}

// flag adds a flag with a value, unless that is empty.
func (c *command) flag(name, value string) *command {
	if value != "" {
		c.words = append(c.words, "--"+name, value)
	}
	return c
}

// set adds a flag with a value; "none" removes the setting.
func (c *command) set(name, value string) *command {
	if value == "" {
		value = "none"
	}
	return c.flag(name, value)
}

// list adds a flag for each value, which the program reads as a line of CSV.
func (c *command) list(name string, values []string) *command {
	for _, v := range values {
		if strings.ContainsAny(v, `,"`) {
			var b strings.Builder
			w := csv.NewWriter(&b)
			_ = w.Write([]string{v}) // a builder takes everything
			w.Flush()
			v = strings.TrimSuffix(b.String(), "\n")
		}
		c.flag(name, v)
	}
	return c
}

// when adds a flag that stands alone.
func (c *command) when(on bool, name string) *command {
	if on {
		c.words = append(c.words, "--"+name)
	}
	return c
}

// plainWord holds for words that no shell reads as anything but text.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_%+:,./@-][A-Za-z0-9_%+=:,./@-]*$`)

// quote writes a word for a POSIX shell. A character that a terminal obeys, such as the end
// of a line, has no place in a line that somebody pastes, quoted or not.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", fault.Newf(fault.InvalidValue, "A value is not UTF-8, and cannot stand in a command line.")
	}
	if i := strings.IndexFunc(s, hidden); i >= 0 {
		r, _ := utf8.DecodeRuneInString(s[i:])
		return "", fault.Newf(fault.InvalidValue, "A value holds the character U+%04X, which has no image and cannot stand in a command line.", r)
	}
	if plainWord.MatchString(s) {
		return s, nil
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", nil
}

// line writes commands that are to run one after the other, each if the one before has
// succeeded, as one line.
func line(commands []*command) (string, error) {
	var b strings.Builder
	words := func(list []string) error {
		for _, w := range list {
			q, err := quote(w)
			if err != nil {
				return err
			}
			b.WriteString(" " + q)
		}
		return nil
	}
	for i, c := range commands {
		if i > 0 {
			b.WriteString(" &&")
		}
		if c.stdin != nil {
			b.WriteString(` printf '%s\n'`)
			if err := words(c.stdin); err != nil {
				return "", err
			}
			b.WriteString(" |")
		}
		if err := words(c.words); err != nil {
			return "", err
		}
	}
	if b.Len() > maxCommand {
		return "", fault.Newf(fault.InvalidValue, "The command would be longer than %d bytes. Put the values into a file; see perfgate COMMAND --help.", maxCommand)
	}
	return strings.TrimPrefix(b.String(), " "), nil
}

// showCommand answers with the command that does what a form, or the link to a download,
// does. The form is posted here with command_for and command_method, its action and method;
// nothing is changed.
func showCommand(v *visit) error {
	out, err := commandOf(v, v.r.PostForm.Get("command_method"), v.r.PostForm.Get("command_for"))
	status := http.StatusOK
	if err != nil {
		f, err := asked(err)
		if f == nil {
			return err
		}
		status, out = f.Code.Status(), f.Sentence()
	}
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	v.w.WriteHeader(status)
	_, err = fmt.Fprintln(v.w, out)
	return err
}

// commandOf is the line for one action. The account that an operator looks at is that of the
// action's URL, with which the browser asks.
func commandOf(v *visit, method, action string) (string, error) {
	u, err := url.Parse(action)
	if err != nil || method != http.MethodGet && method != http.MethodPost {
		return "", fault.Newf(fault.InvalidValue, "command_for must be the action of a form.")
	}
	_, pattern := v.ui.mux.Handler(&http.Request{Method: method, URL: &url.URL{Path: path.Clean(u.Path)}, Host: v.r.Host})
	make := commandsOf[pattern]
	if make == nil {
		return "", fault.Newf(fault.NotFound, "No command does this.")
	}
	segments := strings.Split(u.EscapedPath(), "/")
	for i, segment := range strings.Split(pattern[strings.IndexByte(pattern, '/'):], "/") {
		if name, ok := strings.CutPrefix(segment, "{"); ok && i < len(segments) {
			value, err := url.PathUnescape(segments[i])
			if err != nil {
				return "", fault.Newf(fault.InvalidValue, "command_for must be the action of a form.")
			}
			v.r.SetPathValue(strings.TrimSuffix(name, "}"), value)
		}
	}
	commands, err := make(v)
	if err != nil {
		return "", err
	}
	return lineFor(v, commands...)
}

// lineFor writes commands for the account that is looked at.
func lineFor(v *visit, commands ...*command) (string, error) {
	if v.picked() {
		for _, c := range commands {
			c.words = append(c.words[:1:1], append([]string{"--account", v.account}, c.words[1:]...)...)
		}
	}
	return line(commands)
}
