package cli

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/perfgate/perfgate/store/chain"
)

const (
	anErasure = `"id":"ers_1","account":"acct_1","everything":true,"state":"done","requested_at":"2027-01-31T15:04:05Z","requested_by":{"type":"user","id":"usr_1"},` +
		`"effective_at":"2027-02-01T15:04:05Z","cancelled_at":null,"erased_at":"2027-02-01T15:04:06Z","done_at":"2027-02-01T15:05:05Z",` +
		`"nodes":[{"id":"n","name":"n1","at":"2027-02-01T15:05:00Z","log_from":9,"old_data_keys_until_restart":true,"backups_with_data":["b"],"backups_with_data_total":1}]`
	showsErasure = "id          ers_1\naccount     acct_1\neverything  true\nstate       done\nrequested   2027-01-31 15:04 by usr_1\neffective   2027-02-01 15:04\n" +
		"erased      2027-02-01 15:04\ndone        2027-02-01 15:05\nnode        n1, 2027-02-01 15:05; restart it to end its older data keys; 1 backups still hold the data"
)

func TestErasures(t *testing.T) {
	s := start(t, map[string]answer{
		"DELETE /v1/account/data":                {status: 202, body: `{` + anErasure + `}`},
		"GET /v1/account/erasures":               {body: `{"data":[{` + anErasure + `}],"next_cursor":null}`},
		"GET /v1/account/erasures/ers_1":         {body: `{` + anErasure + `,"receipt":null}`},
		"POST /v1/account/erasures/ers_1/cancel": {body: `{` + anErasure + `}`},
	})
	testCommands(t, s, []commandTest{
		{args: "erasures create acct_1 --everything", calls: `DELETE /v1/account/data {"confirm":"acct_1","everything":true,"now":false}`, out: showsErasure},
		{args: "erasures list", calls: "GET /v1/account/erasures?limit=1000",
			out: "ID     ACCOUNT  STATE  EVERYTHING  EFFECTIVE         DONE\ners_1  acct_1   done   true        2027-02-01 15:04  2027-02-01 15:05"},
		{args: "erasures get ers_1", calls: "GET /v1/account/erasures/ers_1", out: showsErasure},
		{args: "erasures cancel ers_1", calls: "POST /v1/account/erasures/ers_1/cancel", out: showsErasure},
	})
}

// A receipt verifies also after it was printed with blanks, and not after a change, nor under
// the key of somebody else.
func TestVerifyReceipt(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := chain.NewKey(key, nil, time.Unix(0, 0))
	statement := `{"cluster_id":"cl_1","erasure":{` + anErasure + `}}`
	seal, err := json.Marshal(map[string]any{"key": public.ID, "algorithm": "Ed25519", "value": ed25519.Sign(key, []byte(chain.ReceiptFormat+statement))})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal([]chain.Key{public})
	if err != nil {
		t.Fatal(err)
	}
	whole := `{` + anErasure + `,"receipt":{"statement":` + statement + `,"signature":` + string(seal) + `,"keys":` + string(keys) + `}}`
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(whole), "", "  "); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{whole, pretty.String()} {
		text, err := checkReceipt([]byte(raw), nil, public.ID)
		if err != nil || !strings.Contains(text, "erased the data, keys and users of account acct_1") || !strings.Contains(text, public.ID) {
			t.Errorf("%q, %v", text, err)
		}
	}
	for raw, why := range map[string]string{
		strings.ReplaceAll(whole, `"account":"acct_1"`, `"account":"acct_2"`): "it was changed",
		`{` + anErasure + `,"receipt":null}`:                                  "not done",
		`[]`:                                                                  "cannot unmarshal",
	} {
		if _, err := checkReceipt([]byte(raw), nil, ""); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", why, err)
		}
	}
	other := chain.NewKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)), nil, time.Unix(0, 0))
	if _, err := checkReceipt([]byte(whole), []chain.HeadFile{{Keys: []chain.Key{other}}}, ""); err == nil || !strings.Contains(err.Error(), "not trusted") {
		t.Errorf("another cluster's head: %v", err)
	}
}
