package store

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// commandVersion is the wire form's first byte. A change that an older node
// would misread needs a new one; so does a new member, since decoding is strict.
const commandVersion = 1

// ErrUnknownCommand is the fault of a command that this version of perfgate
// cannot read. Nothing may be applied behind it.
var ErrUnknownCommand = errors.New("the log holds a command that this version of perfgate does not know; start a newer one")

// Encode writes c's wire form. Invalid UTF-8, which can reach a command in a
// client's User-Agent, becomes U+FFFD.
func (c *Command) Encode() []byte {
	b, err := json.Marshal(c, jsontext.AllowInvalidUTF8(true), json.Deterministic(true))
	if err != nil {
		panic("BUG: a command that cannot be encoded: " + err.Error())
	}
	out := make([]byte, 0, 1+len(b))
	return append(append(out, commandVersion), b...)
}

// DecodeCommand reads what Encode wrote, strictly: a version, member or value
// that is not known is an error, and so is a command without exactly one change.
func DecodeCommand(wire []byte) (*Command, error) {
	if len(wire) == 0 {
		return nil, fmt.Errorf("decode a command: %w", errors.New("it is empty"))
	}
	if wire[0] != commandVersion {
		return nil, fmt.Errorf("%w (version %d)", ErrUnknownCommand, wire[0])
	}
	c := new(Command)
	if err := json.Unmarshal(wire[1:], c, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrUnknownCommand, err)
	}
	if n := c.changes(); n != 1 {
		return nil, fmt.Errorf("%w (it has %d changes instead of one)", ErrUnknownCommand, n)
	}
	return c, nil
}

// changes counts the changes that are set.
func (c *Command) changes() (n int) {
	for _, set := range [...]bool{
		c.Init != nil, c.KeyCreate != nil, c.KeyUpdate != nil, c.KeyRotate != nil,
		c.KeyRevoke != nil, c.KeyRevokeBulk != nil, c.KeyImport != nil,
		c.AllowlistSet != nil, c.AccountCreate != nil, c.AccountUpdate != nil,
		c.AccountDelete != nil, c.TierPut != nil, c.TierDelete != nil,
		c.Grant != nil, c.OperatorTokens != nil,
		c.ClusterOpen != nil, c.MemberPut != nil, c.MemberRemove != nil,
		c.ClusterReset != nil,
	} {
		if set {
			n++
		}
	}
	return n
}
