package admit

import "context"

// Voucher is the connection that a request came in on. Its listener keeps
// connections that had a valid credential when it must close some.
type Voucher interface {
	// Vouch notes that a request with a valid credential came in. It is called for
	// each such request and must be cheap and safe for concurrent use.
	Vouch()
}

type voucherKey struct{}

// WithVoucher returns ctx for the requests of the connection v.
func WithVoucher(ctx context.Context, v Voucher) context.Context {
	return context.WithValue(ctx, voucherKey{}, v)
}

// VoucherOf is the connection of a request with the context ctx; nil if it has none.
func VoucherOf(ctx context.Context) Voucher {
	v, _ := ctx.Value(voucherKey{}).(Voucher)
	return v
}

// Vouch notes that the request with the context ctx has a valid credential.
func Vouch(ctx context.Context) {
	if v := VoucherOf(ctx); v != nil {
		v.Vouch()
	}
}
