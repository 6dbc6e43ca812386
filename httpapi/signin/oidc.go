package signin

import (
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// The bounds of a sign-in with the provider.
const (
	providerWait  = 10 * time.Second // for each answer of the provider
	providerRetry = 5 * time.Second  // after a failure to reach it
	// SignInTime is how long a person may take at the provider.
	SignInTime = 10 * time.Minute
	maxGroups  = 1_000
)

// OIDCConfig names the provider and how its groups map to roles.
type OIDCConfig struct {
	Issuer       string
	ClientID     string
	ClientSecret string
	GroupsClaim  string // of the ID token or of the user's information
	// Roles are the roles of groups: "role", or "account:role" for another account than the
	// default. Without any, only users who exist may sign in.
	Roles map[string]string
}

// OIDC signs in with a provider. It is safe for concurrent use.
type OIDC struct {
	cfg    OIDCConfig
	client *http.Client

	mu       sync.Mutex
	provider *oidc.Provider // nil until the provider was reached; guarded by mu
	retryAt  time.Time      // guarded by mu
	failed   error          // why it was not reached; guarded by mu
}

// NewOIDC returns a sign-in with a provider, which is reached at the first use.
func NewOIDC(c OIDCConfig) *OIDC {
	return &OIDC{cfg: c, client: &http.Client{Timeout: providerWait}}
}

// Issuer is the provider's URL.
func (o *OIDC) Issuer() string { return o.cfg.Issuer }

// connect reads the provider's configuration, once it can be reached.
func (o *OIDC) connect(ctx context.Context) (*oidc.Provider, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider != nil {
		return o.provider, nil
	}
	if time.Now().Before(o.retryAt) {
		return nil, o.failed
	}
	// The context of the request would end the fetching of keys later on.
	p, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), o.client), o.cfg.Issuer)
	if err != nil {
		o.failed, o.retryAt = fmt.Errorf("reach the provider: %w", err), time.Now().Add(providerRetry)
		return nil, o.failed
	}
	o.provider = p
	return p, nil
}

func (o *OIDC) oauth(p *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: o.cfg.ClientID, ClientSecret: o.cfg.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: redirect,
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", "groups"},
	}
}

// Trip is what a browser keeps while it is at the provider.
type Trip struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"` // of PKCE
	Ends     time.Time `json:"e"`
}

// Begin returns the page of the provider to send the browser to, which comes back to
// redirect.
func (o *OIDC) Begin(ctx context.Context, redirect string, now time.Time) (page string, trip Trip, err error) {
	p, err := o.connect(ctx)
	if err != nil {
		return "", Trip{}, err
	}
	trip = Trip{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Ends: now.Add(SignInTime)}
	return o.oauth(p, redirect).AuthCodeURL(trip.State, oidc.Nonce(trip.Nonce), oauth2.S256ChallengeOption(trip.Verifier)), trip, nil
}

// Identity is who the provider says the person is.
type Identity struct {
	Subject string // issuer, a blank, subject
	Email   string // "" unless the provider has verified it
	Name    string
	Groups  []string
}

// claims are those that are read from the ID token and the user's information.
type claims struct {
	Email    string `json:"email"`
	Verified any    `json:"email_verified"` // some providers write it as a text
	Name     string `json:"name"`
}

// ErrRefused is the error of an answer that does not belong to the trip, or that the
// provider has not signed.
var ErrRefused = errors.New("the answer of the provider is not valid")

// End takes the code that the browser brought back.
func (o *OIDC) End(ctx context.Context, redirect, code string, trip Trip) (*Identity, error) {
	p, err := o.connect(ctx)
	if err != nil {
		return nil, err
	}
	ctx = oidc.ClientContext(ctx, o.client)
	token, err := o.oauth(p, redirect).Exchange(ctx, code, oauth2.VerifierOption(trip.Verifier))
	if err != nil {
		return nil, fmt.Errorf("%w: exchange the code: %w", ErrRefused, err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, err := p.Verifier(&oidc.Config{ClientID: o.cfg.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: verify the ID token: %w", ErrRefused, err)
	}
	if id.Nonce != trip.Nonce {
		return nil, fmt.Errorf("%w: the ID token has another nonce", ErrRefused)
	}
	out := &Identity{Subject: id.Issuer + " " + id.Subject}
	if err := o.read(out, id.Claims); err != nil {
		return nil, err
	}
	if out.Email != "" && len(out.Groups) > 0 || p.UserInfoEndpoint() == "" {
		return out, nil
	}
	info, err := p.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, fmt.Errorf("read the user's information: %w", err)
	}
	if info.Subject != id.Subject {
		return nil, fmt.Errorf("%w: the information is about another user", ErrRefused)
	}
	return out, o.read(out, info.Claims)
}

// read adds claims to out.
func (o *OIDC) read(out *Identity, of func(any) error) error {
	var c claims
	all := map[string]json.RawMessage{}
	if err := errors.Join(of(&c), of(&all)); err != nil {
		return fmt.Errorf("%w: read the claims: %w", ErrRefused, err)
	}
	if fmt.Sprint(c.Verified) == "true" && c.Email != "" {
		out.Email = c.Email
	}
	if c.Name != "" {
		out.Name = c.Name
	}
	var groups []string
	var one string
	switch raw := all[o.cfg.GroupsClaim]; {
	case json.Unmarshal(raw, &groups) == nil:
	case json.Unmarshal(raw, &one) == nil:
		groups = []string{one}
	}
	if len(groups) > 0 {
		out.Groups = groups[:min(len(groups), maxGroups)]
	}
	return nil
}

// rank orders the roles: with several groups, the highest one counts.
var rank = map[string]int{"viewer": 1, "developer": 2, "admin": 3, "owner": 4, "operator": 5}

// Role maps groups to an account and a role; false if none of them has one. The account is
// "" for the default.
func (o *OIDC) Role(groups []string) (account, role string, ok bool) {
	o.eachRole(groups, func(in, r string) {
		if rank[r] > rank[role] {
			account, role = in, r
		}
	})
	return account, role, role != ""
}

// RoleIn maps the groups of a user of an account to a role; false if none of them has one
// there. A mapping for another account counts for nothing, but an operator is one everywhere.
func (o *OIDC) RoleIn(groups []string, account string) (role string, ok bool) {
	o.eachRole(groups, func(in, r string) {
		if (cmp.Or(in, "default") == account || r == "operator") && rank[r] > rank[role] {
			role = r
		}
	})
	return role, role != ""
}

// eachRole calls use with the account, "" for the default, and the role of each group that
// is mapped.
func (o *OIDC) eachRole(groups []string, use func(account, role string)) {
	for _, g := range groups {
		if to, mapped := o.cfg.Roles[g]; mapped {
			account, role, found := strings.Cut(to, ":")
			if !found {
				account, role = "", to
			}
			use(account, role)
		}
	}
}

// Maps reports whether groups map to roles at all.
func (o *OIDC) Maps() bool { return len(o.cfg.Roles) > 0 }

// Seal encrypts a trip for the browser to keep, with a key that all nodes have: the answer
// may come to another one.
func Seal(secret [32]byte, t Trip) string {
	plain, _ := json.Marshal(t) // it has texts and a time alone
	gcm := sealer(secret)
	nonce := make([]byte, gcm.NonceSize())
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(gcm.Seal(nonce, nonce, plain, nil))
}

// Open reads a trip that is not over.
func Open(secret [32]byte, sealed string, now time.Time) (t Trip, ok bool) {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	gcm := sealer(secret)
	if err != nil || len(raw) < gcm.NonceSize() {
		return Trip{}, false
	}
	plain, err := gcm.Open(nil, raw[:gcm.NonceSize()], raw[gcm.NonceSize():], nil)
	if err != nil || json.Unmarshal(plain, &t) != nil || !now.Before(t.Ends) {
		return Trip{}, false
	}
	return t, true
}

func sealer(secret [32]byte) cipher.AEAD {
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte("perfgate oidc trip"))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic("BUG: " + err.Error()) // the key has 32 bytes
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return gcm
}
