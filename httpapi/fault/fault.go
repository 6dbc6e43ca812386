package fault

import (
	"errors"
	"fmt"
	"net/http"
)

// Code is the machine-readable name of a fault, unique and stable.
type Code string

// The codes, in the order of the HTTP status they are answered with.
const (
	AmbiguousCredentials Code = "ambiguous_credentials"
	KeyInQuery           Code = "key_in_query"
	CostAboveLimit       Code = "cost_above_limit"
	DuplicateMember      Code = "duplicate_member"
	InvalidJSON          Code = "invalid_json"
	InvalidCursor        Code = "invalid_cursor"
	InvalidRequest       Code = "invalid_request"

	MissingKey   Code = "missing_key"
	MalformedKey Code = "malformed_key"
	InvalidKey   Code = "invalid_key"
	KeyRevoked   Code = "key_revoked"
	KeyExpired   Code = "key_expired"
	KeyDisabled  Code = "key_disabled"

	InvalidCredentials   Code = "invalid_credentials"
	SecondFactorRequired Code = "second_factor_required"
	InvalidSession       Code = "invalid_session"

	BudgetExceeded Code = "budget_exceeded"

	AccountSuspended  Code = "account_suspended"
	IPNotAllowed      Code = "ip_not_allowed"
	InsufficientScope Code = "insufficient_scope"
	RouteNotAllowed   Code = "route_not_allowed"
	KeyExposed        Code = "key_exposed"
	FeatureNotInTier  Code = "feature_not_in_tier"
	Forbidden         Code = "forbidden"

	NotFound              Code = "not_found"
	MethodNotAllowed      Code = "method_not_allowed"
	Conflict              Code = "conflict"
	WouldLockOut          Code = "would_lock_out"
	WouldLoseQuorum       Code = "would_lose_quorum"
	IdempotencyInProgress Code = "idempotency_in_progress"
	PreconditionFailed    Code = "precondition_failed"
	RequestTimeout        Code = "request_timeout"
	BodyTooLarge          Code = "body_too_large"
	URITooLong            Code = "uri_too_long"
	UnsupportedMediaType  Code = "unsupported_media_type"
	UnsupportedEncoding   Code = "unsupported_content_encoding"
	ExpectationFailed     Code = "expectation_failed"
	InvalidValue          Code = "invalid_value"
	UnknownField          Code = "unknown_field"
	IdempotencyMismatch   Code = "idempotency_mismatch"
	LimitReached          Code = "limit_reached"
	WrongRegion           Code = "wrong_region"
	HeadersTooLarge       Code = "headers_too_large"

	RequestsPerMinute Code = "requests_per_minute"
	RequestsPerMonth  Code = "requests_per_month"
	LimitRule         Code = "limit_rule"
	TooManyInFlight   Code = "too_many_in_flight"
	TooManyFailures   Code = "too_many_failures"

	Internal       Code = "internal_error"
	NotImplemented Code = "not_implemented"
	HTTPVersion    Code = "http_version_not_supported"
	LoopDetected   Code = "loop_detected"

	UpstreamUnreachable Code = "upstream_unreachable"
	UpstreamTimeout     Code = "upstream_timeout"

	NodeIsolated   Code = "node_isolated"
	NoLeader       Code = "no_leader"
	UnknownOutcome Code = "unknown_outcome"
	Unavailable    Code = "unavailable"
	TooBusy        Code = "too_busy"
)

type row struct {
	status  int
	message string
}

var table = map[Code]row{
	AmbiguousCredentials: {400, "The request carries more than one credential; send exactly one."},
	KeyInQuery:           {400, "API keys are not accepted in the query string, where logs would keep them; send the key as \"Authorization: Bearer …\"."},
	CostAboveLimit:       {400, "max_cost_per_call is above the amount that this key may spend on one call."},
	DuplicateMember:      {400, "The JSON body names a member twice."},
	InvalidJSON:          {400, "The body is not valid JSON."},
	InvalidCursor:        {400, "The cursor is not one that this list handed out."},
	InvalidRequest:       {400, "The request cannot be read."},

	MissingKey:   {401, "No API key was sent; send one as \"Authorization: Bearer pk_…\"."},
	MalformedKey: {401, "The credential is not a well-formed API key; check that it was copied completely."},
	InvalidKey:   {401, "The API key is not known."},
	KeyRevoked:   {401, "The API key has been revoked."},
	KeyExpired:   {401, "The API key has expired."},
	KeyDisabled:  {401, "The API key is disabled."},

	InvalidCredentials:   {401, "The address, password or code is not right."},
	SecondFactorRequired: {401, "The account has a second factor; repeat with the code of your authenticator, or with a recovery code."},
	InvalidSession:       {401, "You are not signed in, or the session has ended; sign in again."},

	BudgetExceeded: {402, "The key's monthly budget is used up."},

	AccountSuspended:  {403, "The account is suspended, and none of its keys is accepted until an operator ends the suspension."},
	IPNotAllowed:      {403, "Requests from this address are not allowed for this key."},
	InsufficientScope: {403, "The key lacks the scope that this request needs."},
	RouteNotAllowed:   {403, "The key may not be used on this route."},
	KeyExposed:        {403, "A live key was sent by a browser, where visitors can read it; call your own backend instead."},
	FeatureNotInTier:  {403, "The account's tier does not include this feature."},
	Forbidden:         {403, "The caller may not do this."},

	NotFound:              {404, "No such route or endpoint."},
	MethodNotAllowed:      {405, "The method is not allowed on this path."},
	Conflict:              {409, "The change conflicts with the current state."},
	WouldLockOut:          {409, "The change would lock out the caller that makes it; repeat it with force=true if that is intended."},
	WouldLoseQuorum:       {409, "The change would leave no majority of the nodes in contact; repeat it with force=true if that is intended."},
	IdempotencyInProgress: {409, "A request with this Idempotency-Key is still in progress; repeat it in a moment."},
	PreconditionFailed:    {412, "The resource has changed since it was read; read it again and repeat."},
	RequestTimeout:        {408, "The request's body did not arrive in time."},
	BodyTooLarge:          {413, "The body is larger than allowed."},
	URITooLong:            {414, "The request target is too long."},
	UnsupportedMediaType:  {415, "The media type of the body is not supported."},
	UnsupportedEncoding:   {415, "A body whose cost is checked must not be content-encoded."},
	ExpectationFailed:     {417, "Expect asks for something that is not supported: only 100-continue is."},
	InvalidValue:          {422, "A value is not valid."},
	UnknownField:          {422, "The body has an unknown field."},
	IdempotencyMismatch:   {422, "This Idempotency-Key was used with another body."},
	LimitReached:          {422, "A fixed bound of this installation has been reached."},
	WrongRegion:           {422, "The account belongs to another region than this cluster."},
	HeadersTooLarge:       {431, "The request's header fields are too large."},

	RequestsPerMinute: {429, "You have exceeded your rate limit"},
	RequestsPerMonth:  {429, "You have exceeded your rate limit: the month's requests are used up"},
	LimitRule:         {429, "You have exceeded your rate limit: one of the account's limit rules"},
	TooManyInFlight:   {429, "You have exceeded your rate limit: too many requests of this key are in flight; wait until one has ended"},
	TooManyFailures:   {429, "You have exceeded your rate limit: too many failed authentications from this address"},

	Internal:       {500, "Internal error; give the request id when you report it."},
	NotImplemented: {501, "The transfer coding is not supported; send the body with Content-Length, or chunked."},
	HTTPVersion:    {505, "The HTTP version is not supported."},
	LoopDetected:   {508, "The route's upstream leads back to this gateway."},

	UpstreamUnreachable: {502, "The service behind the gateway could not be reached."},
	UpstreamTimeout:     {504, "The service behind the gateway did not answer in time."},

	NodeIsolated:   {503, "This node is cut off from the cluster and does not serve until it is connected again; try another node."},
	NoLeader:       {503, "The cluster has no leader right now; nothing was changed."},
	UnknownOutcome: {503, "It is not known whether the change was made; repeat it with the same Idempotency-Key."},
	Unavailable:    {503, "The service is not available right now."},
	TooBusy:        {503, "Too many writes are waiting; nothing was changed."},
}

// Status is the HTTP status of c; an unknown code is an internal error.
func (c Code) Status() int {
	if r, ok := table[c]; ok {
		return r.status
	}
	return http.StatusInternalServerError
}

// Type is the error type that clients group by, derived from the status.
func (c Code) Type() string { return typeOf(c.Status()) }

func typeOf(status int) string {
	switch status {
	case 401:
		return "authentication_error"
	case 402:
		return "budget_exceeded"
	case 403:
		return "permission_error"
	case 429:
		return "rate_limit_exceeded"
	case 502, 504:
		return "upstream_error"
	case 503:
		return "unavailable"
	}
	if status >= 500 {
		return "internal_error"
	}
	return "invalid_request"
}

// Codes lists every code of the table, in no order.
func Codes() []Code {
	out := make([]Code, 0, len(table))
	for c := range table {
		out = append(out, c)
	}
	return out
}

// Error is a fault on its way to a client. Message replaces the table's sentence;
// RetryAfter is whole seconds, 0 for none; Scope lists the scopes that an
// insufficient_scope asks for; Allow is a 405's methods. Param is the place of a
// wrong value, and Errors lists all faults where there are several; see [Detail].
// Policy names the limit that refused, as the header RateLimit does.
// Cause is for logs only and never leaves the process.
type Error struct {
	Code       Code
	Message    string
	Param      string
	Errors     []Detail
	RetryAfter int64
	Scope      string
	Allow      string
	Policy     string
	Cause      error

	foreign bool
	more    int // faults beyond those that Errors holds
}

// New returns the fault code with the table's sentence.
func New(code Code) *Error { return &Error{Code: code} }

// Newf returns the fault code with a sentence of its own.
func Newf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns the fault code and keeps cause for the log.
func Wrap(code Code, cause error) *Error { return &Error{Code: code, Cause: cause} }

// Sentence is the message for people.
func (e *Error) Sentence() string {
	if e.Message != "" {
		return e.Message
	}
	return table[e.Code].message
}

func (e *Error) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Sentence(), e.Cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Sentence())
}

// Foreign reports whether the fault was made up for the answer of a server that is not
// perfgate; see [Decode].
func (e *Error) Foreign() bool { return e.foreign }

func (e *Error) Unwrap() error { return e.Cause }

// From finds the fault in err; an error without one is an internal error.
func From(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Wrap(Internal, err)
}
