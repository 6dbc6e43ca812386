package rest

import (
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/httpapi/fault"
)

// sampleBody has a member of each type that bodies have.
type sampleBody struct {
	Text   string            `json:"text"`
	Number *int64            `json:"number"`
	Flag   bool              `json:"flag"`
	At     time.Time         `json:"at"`
	List   []struct{ A int } `json:"list"`
	Map    map[string]string `json:"map"`
	Deep   struct {
		Deeper Opt[int] `json:"deeper"`
	} `json:"deep"`
}

// Each kind of bad body is refused with its code, and the fault names the member.
func TestDecode(t *testing.T) {
	long := strings.Repeat("n", 300)
	for _, c := range []struct {
		body string
		code fault.Code // "" is none
		says string
	}{
		{`{}`, "", ""},
		{" \t\r\n{}\n", "", ""},
		{`{"text":"a","number":null,"flag":true,"at":"2030-01-01T00:00:00Z","list":[{"A":1}],"map":{"a":"b"},"deep":{"deeper":5}}`, "", ""},
		{``, fault.InvalidJSON, "The body is empty; send a JSON object."},
		{" \n", fault.InvalidJSON, "The body is empty; send a JSON object."},
		{`null`, fault.InvalidValue, "The body: must be a JSON object."},
		{`[]`, fault.InvalidValue, "The body: must be an object."},
		{`{"text":"a"`, fault.InvalidJSON, "The body is not valid JSON: byte 11 is unexpected."},
		{`{} {}`, fault.InvalidJSON, "The body is not valid JSON: byte 3 is unexpected."},
		{`{"text":"a","text":"b"}`, fault.DuplicateMember, "text is given twice."},
		{`{"map":{"a":"1","a":"2"}}`, fault.DuplicateMember, "map.a is given twice."},
		{`{"Text":"a"}`, fault.UnknownField, "Text is not a known field."},
		{`{"deep":{"x":1}}`, fault.UnknownField, "deep.x is not a known field."},
		{`{"text":1}`, fault.InvalidValue, "text: must be a string."},
		{`{"number":"1"}`, fault.InvalidValue, "number: must be a whole number of at most 64 bits."},
		{`{"number":9223372036854775808}`, fault.InvalidValue, "number: must be a whole number of at most 64 bits."},
		{`{"flag":"true"}`, fault.InvalidValue, "flag: must be true or false."},
		{`{"at":"tomorrow"}`, fault.InvalidValue, "at: must be a time as RFC 3339 writes it."},
		{`{"list":{}}`, fault.InvalidValue, "list: must be an array."},
		{`{"list":[{"A":1},{"A":"x"}]}`, fault.InvalidValue, "list.1.A: must be a whole number of at most 64 bits."},
		{`{"map":{"a":null,"b":"x"}}`, fault.InvalidValue, `map: the value of "a" is null; leave the name out, or send a text.`},
		{`{"map":{"a":1}}`, fault.InvalidValue, "map.a: must be a string."},
		{`{"map":null}`, "", ""},
		{`{"map":[]}`, fault.InvalidValue, "map: must be an object."},
		{`{"deep":{"deeper":"x"}}`, fault.InvalidValue, "deep.deeper: must be a whole number of at most 64 bits."},
		{`{"` + long + `":1}`, fault.UnknownField, strings.Repeat("n", 100) + "… is not a known field."},
	} {
		err := Decode([]byte(c.body), new(sampleBody))
		if c.code == "" {
			if err != nil {
				t.Errorf("%.60s: %v", c.body, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%.60s is taken", c.body)
		} else if f := fault.From(err); f.Code != c.code || f.Sentence() != c.says {
			t.Errorf("%.60s: %s %q, want %s %q", c.body, f.Code, f.Sentence(), c.code, c.says)
		}
	}
}

// A decoder's own sentence about a value reaches the client with the member's name.
func TestBadField(t *testing.T) {
	var in struct {
		Size picky `json:"size"`
	}
	err := Decode([]byte(`{"size":"x"}`), &in)
	if err == nil || fault.From(err).Sentence() != "size: must be 3 to 5." {
		t.Errorf("%v", err)
	}
}

type picky struct{}

func (*picky) UnmarshalJSON([]byte) error { return BadField("must be %d to %d", 3, 5) }

// An absent member, null and a value are three cases of a PATCH.
func TestOpt(t *testing.T) {
	five, zero := 5, 0
	for _, c := range []struct {
		body        string
		set, null   bool
		get, orZero *int
	}{
		{`{}`, false, false, nil, nil},
		{`{"deeper":null}`, true, true, nil, &zero},
		{`{"deeper":5}`, true, false, &five, &five},
		{`{"deeper":0}`, true, false, &zero, &zero},
	} {
		var in struct {
			Deeper Opt[int] `json:"deeper"`
		}
		if err := Decode([]byte(c.body), &in); err != nil {
			t.Fatal(err)
		}
		same := func(a, b *int) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
		if o := in.Deeper; o.Set != c.set || o.Null != c.null || !same(o.Get(), c.get) || !same(o.OrZero(), c.orZero) {
			t.Errorf("%s: %+v", c.body, o)
		}
	}
}
