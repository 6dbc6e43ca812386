package mesh

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// exporter is the label of the keying material that a proof is bound to. Two
// connections never have the same, so a proof is worth nothing on another one:
// who stands in the middle cannot pass it on.
const (
	exporter    = "EXPORTER-perfgate-join"
	roleClient  = "perfgate join client"
	roleServer  = "perfgate join server"
	proofSize   = sha256.Size
	maxFrame    = 64 << 10 // bytes of JSON
	frameHeader = 4        // its length, big-endian
)

// question and answer are the two frames.
type question struct {
	Kind string         `json:"kind"`
	Body jsontext.Value `json:"body,omitzero"`
}

type answer struct {
	Body  jsontext.Value `json:"body,omitzero"`
	Error string         `json:"error,omitzero"`
}

func checkSecret(secret []byte) error {
	if len(secret) < minSecret {
		return fmt.Errorf("the cluster secret has %d bytes; at least %d are needed: make one with \"perfgate cluster secret\"", len(secret), minSecret)
	}
	return nil
}

// proof is what the side in that role shows on this connection.
func proof(secret []byte, role string, s tls.ConnectionState) ([]byte, error) {
	key, err := s.ExportKeyingMaterial(exporter, nil, 32)
	if err != nil {
		return nil, err
	}
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(role))
	h.Write(key)
	return h.Sum(nil), nil
}

// Ask sends a join request to the node at addr and returns the JSON that it
// answers. The errors to branch on are [ErrSecret], [ErrUnreachable],
// [ErrNotCluster] and [*RemoteError]. It takes at most 35 s.
func (m *Mesh) Ask(ctx context.Context, addr, kind string, body any) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		if m.ctx.Err() != nil {
			err = ErrClosed
		}
		return nil, fmt.Errorf("ask %s: %w", addr, err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return fail(err)
	}
	frame, err := encodeFrame(question{Kind: kind, Body: raw})
	if err != nil {
		return fail(err)
	}
	c, err := m.connect(ctx, addr)
	if err != nil {
		return fail(err)
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.kill)()
	if err := m.proveTo(ctx, c); err != nil {
		return fail(err)
	}
	c.raw.SetDeadline(time.Now().Add(joinTimeout))
	if _, err := c.Write(frame); err != nil {
		return fail(sortDial(err))
	}
	var a answer
	if err := readFrame(c, &a); err != nil {
		return fail(sortDial(err))
	}
	if a.Error != "" {
		return fail(&RemoteError{Text: a.Error})
	}
	return a.Body, nil
}

// proveTo is the client's side of the proof of the secret.
func (m *Mesh) proveTo(ctx context.Context, c *conn) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	t := tls.Client(c.raw, base(protoJoin, tls.Certificate{}))
	if err := t.HandshakeContext(ctx); err != nil {
		if network(err) {
			return fmt.Errorf("%w (%w)", ErrUnreachable, err)
		}
		return fmt.Errorf("%w (%w)", ErrNotCluster, err)
	}
	c.Conn = t
	s := t.ConnectionState()
	if s.NegotiatedProtocol != protoJoin {
		return ErrNotCluster
	}
	secret := *m.secret.Load()
	ours, err := proof(secret, roleClient, s)
	if err != nil {
		return err
	}
	theirs, err := proof(secret, roleServer, s)
	if err != nil {
		return err
	}
	if _, err := t.Write(ours); err != nil {
		return sortDial(err)
	}
	var got [proofSize]byte
	if _, err := io.ReadFull(t, got[:]); err != nil {
		return sortDial(err)
	}
	if !hmac.Equal(got[:], theirs) {
		return ErrSecret
	}
	return nil
}

// complainEvery is how often the log tells of strangers: they come as often as they
// like.
const complainEvery = 10 * time.Second

// complain warns of a stranger, or of the last of many.
func (m *Mesh) complain(msg string, args ...any) {
	now := time.Now().UnixNano()
	if last := m.complained.Load(); now-last < int64(complainEvery) || !m.complained.CompareAndSwap(last, now) {
		m.log.Debug(msg, args...)
		return
	}
	m.log.Warn(msg, args...)
}

// serveJoin is the server's side: the proof, one frame, one answer.
func (m *Mesh) serveJoin(c *conn) {
	defer c.Close()
	if err := m.prove(c); err != nil {
		m.complain("a join was refused", "remote", c.RemoteAddr(), "err", err)
		return
	}
	select {
	case m.joins <- struct{}{}:
		defer func() { <-m.joins }()
	default:
		m.complain("a join was refused: too many at a time", "remote", c.RemoteAddr())
		return
	}
	m.known(c, "") // makes room; that peer names no node
	var q question
	if err := readFrame(c, &q); err != nil {
		m.complain("a join request cannot be read", "remote", c.RemoteAddr(), "err", err)
		m.reply(c, answer{Error: "the request cannot be read: " + err.Error()})
		return
	}
	c.raw.SetDeadline(time.Now().Add(joinTimeout))
	m.reply(c, m.answer(c, q))
}

// prove checks the client's proof, and only then gives this side's.
func (m *Mesh) prove(c *conn) error {
	s := c.Conn.(*tls.Conn).ConnectionState()
	secret := *m.secret.Load()
	theirs, err := proof(secret, roleClient, s)
	if err != nil {
		return err
	}
	ours, err := proof(secret, roleServer, s)
	if err != nil {
		return err
	}
	var got [proofSize]byte
	if _, err := io.ReadFull(c, got[:]); err != nil {
		return err
	}
	if !hmac.Equal(got[:], theirs) {
		m.pause(refuseDelay)
		c.Write(make([]byte, proofSize)) // no proof: the client can tell a refusal from a broken connection
		return ErrSecret
	}
	_, err = c.Write(ours)
	return err
}

func (m *Mesh) answer(c *conn, q question) answer {
	if m.conf.Join == nil {
		return answer{Error: "this node takes no join requests"}
	}
	ctx, cancel := context.WithTimeout(m.ctx, joinTimeout)
	defer cancel()
	out, err := m.conf.Join(ctx, q.Kind, q.Body, c.RemoteAddr().String())
	if err != nil {
		return answer{Error: err.Error()}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return answer{Error: "BUG: " + err.Error()}
	}
	return answer{Body: body}
}

func (m *Mesh) reply(c *conn, a answer) {
	frame, err := encodeFrame(a)
	if err != nil {
		frame, err = encodeFrame(answer{Error: fmt.Sprintf("BUG: the answer: %.200s", err)})
	}
	if err == nil {
		_, err = c.Write(frame)
	}
	if err != nil {
		m.log.Warn("a join request was not answered", "remote", c.RemoteAddr(), "err", err)
	}
}

func encodeFrame(v any) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, frameHeader))
	if err := json.MarshalWrite(b, v); err != nil {
		return nil, err
	}
	n := b.Len() - frameHeader
	if n > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes; at most %d are sent", ErrTooLarge, n, maxFrame)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(n))
	return b.Bytes(), nil
}

// readFrame decodes one frame strictly. No more than maxFrame bytes are held.
func readFrame(r io.Reader, v any) error {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("%w: a frame of %d bytes; at most %d are taken", ErrTooLarge, n, maxFrame)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v, json.RejectUnknownMembers(true))
}
