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

// exporter is the label of the keying material that a proof is bound to. No two
// connections have the same material, so that a proof is invalid on another one: a
// man in the middle cannot forward it.
const (
	exporter    = "EXPORTER-perfgate-join"
	roleClient  = "perfgate join client"
	roleServer  = "perfgate join server"
	proofSize   = sha256.Size
	maxFrame    = 64 << 10 // bytes of JSON
	frameHeader = 4        // its length, big-endian
)

// joinRequest and joinAnswer are the two frames.
type joinRequest struct {
	Kind string         `json:"kind"`
	Body jsontext.Value `json:"body,omitzero"`
}

type joinAnswer struct {
	Body  jsontext.Value `json:"body,omitzero"`
	Error string         `json:"error,omitzero"`
}

func checkSecret(secret []byte) error {
	if len(secret) < minSecret {
		return fmt.Errorf("the cluster secret has %d bytes; it needs at least %d: generate one with \"perfgate cluster secret\"", len(secret), minSecret)
	}
	return nil
}

// proof returns the proof of the side with that role on this connection.
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

// Ask sends a join request to the node at addr and returns the JSON of its answer.
// The errors to branch on are [ErrSecret], [ErrUnreachable],
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
	frame, err := encodeFrame(joinRequest{Kind: kind, Body: raw})
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
	var a joinAnswer
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

// warnEvery limits the warnings about unauthenticated peers, which can connect as
// often as they like.
const warnEvery = 10 * time.Second

// warnJoin logs a failed join as a warning, at most once per warnEvery, and
// otherwise at the debug level.
func (m *Mesh) warnJoin(msg string, args ...any) {
	now := time.Now().UnixNano()
	if last := m.warned.Load(); now-last < int64(warnEvery) || !m.warned.CompareAndSwap(last, now) {
		m.log.Debug(msg, args...)
		return
	}
	m.log.Warn(msg, args...)
}

// serveJoin is the server's side of a join: the proof, one request, one answer.
func (m *Mesh) serveJoin(c *conn) {
	defer c.Close()
	if err := m.prove(c); err != nil {
		m.warnJoin("join refused", "addr", c.RemoteAddr(), "error", err)
		return
	}
	select {
	case m.joins <- struct{}{}:
		defer func() { <-m.joins }()
	default:
		m.warnJoin("join refused: too many at the same time", "addr", c.RemoteAddr())
		return
	}
	_ = m.identify(c, "") // no longer a stranger; the peer has no node id
	var q joinRequest
	if err := readFrame(c, &q); err != nil {
		m.warnJoin("invalid join request", "addr", c.RemoteAddr(), "error", err)
		m.reply(c, joinAnswer{Error: "invalid request: " + err.Error()})
		return
	}
	c.raw.SetDeadline(time.Now().Add(joinTimeout))
	m.reply(c, m.handleJoin(c, q))
}

// prove verifies the client's proof, and only then sends this side's.
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
		_, _ = c.Write(make([]byte, proofSize)) // no proof: the client can tell a refusal from a broken connection
		return ErrSecret
	}
	_, err = c.Write(ours)
	return err
}

// handleJoin calls the join handler.
func (m *Mesh) handleJoin(c *conn, q joinRequest) joinAnswer {
	if m.conf.Join == nil {
		return joinAnswer{Error: "this node accepts no join requests"}
	}
	ctx, cancel := context.WithTimeout(m.ctx, joinTimeout)
	defer cancel()
	out, err := m.conf.Join(ctx, q.Kind, q.Body, c.RemoteAddr().String())
	if err != nil {
		return joinAnswer{Error: err.Error()}
	}
	body, err := json.Marshal(out)
	if err != nil {
		return joinAnswer{Error: "BUG: " + err.Error()}
	}
	return joinAnswer{Body: body}
}

func (m *Mesh) reply(c *conn, a joinAnswer) {
	frame, err := encodeFrame(a)
	if err != nil {
		frame, err = encodeFrame(joinAnswer{Error: fmt.Sprintf("BUG: the answer: %.200s", err)})
	}
	if err == nil {
		_, err = c.Write(frame)
	}
	if err != nil {
		m.log.Warn("join request not answered", "addr", c.RemoteAddr(), "error", err)
	}
}

func encodeFrame(v any) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, frameHeader))
	if err := json.MarshalWrite(b, v); err != nil {
		return nil, err
	}
	n := b.Len() - frameHeader
	if n > maxFrame {
		return nil, fmt.Errorf("%w: a frame of %d bytes; the limit is %d", ErrTooLarge, n, maxFrame)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(n))
	return b.Bytes(), nil
}

// readFrame decodes one frame strictly. It buffers at most maxFrame bytes.
func readFrame(r io.Reader, v any) error {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxFrame {
		return fmt.Errorf("%w: a frame of %d bytes; the limit is %d", ErrTooLarge, n, maxFrame)
	}
	raw := make([]byte, n)
	if _, err := io.ReadFull(r, raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v, json.RejectUnknownMembers(true))
}
