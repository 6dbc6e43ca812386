package store

import (
	"encoding/binary"
	"time"

	"github.com/perfgate/perfgate/store/pack"
)

// The rows of the state. One letter names the table; identifiers never hold a
// zero byte (apply refuses them), so it ends those that are followed by more.
//
//	h <hash 32>                                        the fields of a key that admission reads
//	f <hash 32> <account>                              account that revoked the key before it became another account's
//	i <account> 0 <created index 8> <n 4>              the whole key, in order of creation
//	k <key id>                                         the key's row in i
//	c <account>                                        account
//	l <account>                                        allowlist, apart from its account
//	t <name>                                           tier
//	e <account> 0 <time 8> <index 8> <n 4>             audit event of a change
//	m <month 4> <account> 0 <type 1> <budget 1> <key>  granted of a month
//	m <month 4> <account> 0 <type 1> 2 <rule> 0 <key>  the same of a rule by the month
//	d <day 4> <account> 0 <type 1> 2 <rule> 0 <key>    the same of a rule by the day
//	o <scope 32>                                       result of an idempotent command
//	x <time 8> <scope 32>                              the same results by age
//	w <account> 0 <webhook>                            endpoint of webhooks
//	v <webhook>                                        state of the endpoint's deliveries
//	v <webhook> 0 <index 8> <n 4>                      delivery that waits
//	b <webhook> 0 <index 8> <n 4>                      finished delivery
//	r 0 <account> 0 <cause>                            cause of which an alert was raised
//	r 1 <time 8> <row>                                 the same by the time when it is forgotten
//	a <account>                                        open incidents that freeze the account
//	a <account> 0 <incident>                           incident
//	z <account>                                        deleted account whose keys are being removed
//	y <account>                                        deleted account whose events are growing old
//	q <account>                                        end of the account's chain of changes
//	u i <user id>                                      user
//	u e <address>                                      id of the user with this address, in lower case
//	u s <hash 32>                                      id of the user with this OIDC subject
//	p <owner> 0 <session id>                           session
//	n <account> 0 <link id>                            session link that is not opened yet
//	j <stream>                                         newest head of a stream of audit events
//	D <account> 0 <erasure>                            erasure, also of an account that is gone
//	E <erasure>                                        erasure that is not over
//	F <erasure>                                        account of the erasure
//	G <account>                                        allowlist on trial: until when
//	H <account>                                        allowlist from before the trial, as in l
//	s <name>                                           settings, applied index, sweeper's place, cluster time, chain of changes, number of
//	                                                   deliveries that wait, end of the last digest
//
// n distinguishes the rows of one command. Numbers are big-endian, so that bytes
// sort like numbers.
const (
	rowHash     = 'h'
	rowFormer   = 'f'
	rowKey      = 'i'
	rowKeyID    = 'k'
	rowAccount  = 'c'
	rowAllow    = 'l'
	rowTier     = 't'
	rowEvent    = 'e'
	rowMonth    = 'm'
	rowDay      = 'd'
	rowOnce     = 'o'
	rowOnceAge  = 'x'
	rowWebhook  = 'w'
	rowPending  = 'v'
	rowFinished = 'b'
	rowCause    = 'r'
	rowIncident = 'a'
	rowDeleted  = 'z'
	rowEnding   = 'y'
	rowLink     = 'q'
	rowHead     = 'j'
	rowUser     = 'u'
	rowSession  = 'p'
	rowLinkUse  = 'n'
	rowSettings = 's'

	rowErasure   = 'D'
	rowErasing   = 'E'
	rowErasureID = 'F'

	rowTrial       = 'G'
	rowAllowBefore = 'H'
)

var (
	settingsRow = named(rowSettings, "settings")
	appliedRow  = named(rowSettings, "applied")
	sweepRow    = named(rowSettings, "sweep")
	clockRow    = named(rowSettings, "clock")
	chainRow    = named(rowSettings, "chain")
	outboxRow   = named(rowSettings, "outbox")
	digestRow   = named(rowSettings, "digest")
)

func hashRow(b []byte, h *Hash) []byte { return append(append(b, rowHash), h[:]...) }

func formerRow(h *Hash, account AccountID) []byte {
	b := make([]byte, 0, 1+len(h)+len(account))
	return append(append(append(b, rowFormer), h[:]...), account...)
}

func named[S ~string | ~[]byte](table byte, name S) []byte {
	return append(append(make([]byte, 0, 1+len(name)), table), name...)
}

// accountRows is the prefix of an account's rows in table i or e.
func accountRows(table byte, account AccountID) []byte {
	return append(named(table, account), 0)
}

func keyRow(account AccountID, created uint64, n uint32) []byte {
	b := make([]byte, 0, 1+len(account)+1+8+4)
	b = append(append(append(b, rowKey), account...), 0)
	b = binary.BigEndian.AppendUint64(b, created)
	return binary.BigEndian.AppendUint32(b, n)
}

func eventRow(account AccountID, at time.Time, index uint64, n uint32) []byte {
	b := make([]byte, 0, 1+len(account)+1+8+8+4)
	b = append(append(append(b, rowEvent), account...), 0)
	b = appendSortedTime(b, at)
	b = binary.BigEndian.AppendUint64(b, index)
	return binary.BigEndian.AppendUint32(b, n)
}

// appendSortedTime appends t in nanoseconds so that bytes sort like times.
func appendSortedTime(b []byte, t time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(unixNano(t)))
}

func monthRows(month int) []byte {
	return binary.BigEndian.AppendUint32([]byte{rowMonth}, uint32(month))
}

func monthRow(month int, account AccountID, t KeyType, budget bool, key KeyID) []byte {
	b := append(append(monthRows(month), account...), 0, byte(t))
	return append(pack.AppendBool(b, budget), key...)
}

func dayRows(day int) []byte {
	return binary.BigEndian.AppendUint32([]byte{rowDay}, uint32(day))
}

// rowOfRule stands in the place of a row's budget.
const rowOfRule = 2

func ruleRow(period []byte, account AccountID, t KeyType, rule string, key KeyID) []byte {
	b := append(append(period, account...), 0, byte(t), rowOfRule)
	return append(append(append(b, rule...), 0), key...)
}

func onceAgeRow(at time.Time, scope *Hash) []byte {
	return append(appendSortedTime([]byte{rowOnceAge}, at), scope[:]...)
}

// prefixEnd is the smallest row that sorts after all rows with this prefix.
func prefixEnd(prefix []byte) []byte {
	b := append([]byte(nil), prefix...)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i]++; b[i] != 0 {
			return b[:i+1]
		}
	}
	panic("BUG: no row sorts after the prefix")
}
