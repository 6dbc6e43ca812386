package proxy

import (
	"errors"
	"strconv"
	"strings"

	"github.com/perfgate/perfgate/store"
)

var errMoney = errors.New("want a decimal amount from 0 to 9000000000, for example 0.002")

// parseMoney reads a decimal number as JSON writes it. What is smaller than a
// billionth is rounded up: a limit is never passed by a rounding.
func parseMoney(s string) (store.Money, error) {
	mantissa, exponent, hasExp := s, "", false
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent, hasExp = s[:i], s[i+1:], true
	}
	whole, frac, hasFrac := strings.Cut(mantissa, ".")
	if !digits(whole) || hasFrac && !digits(frac) {
		return 0, errMoney
	}
	shift := store.MoneyDigits - len(frac)
	all := strings.TrimLeft(whole+frac, "0")
	if hasExp {
		// Far more than any amount can have, and far from overflowing the sum below.
		const most = 1 << 20
		e, err := strconv.Atoi(exponent)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, errMoney
		}
		shift += min(max(e, -most), most)
	}
	if all == "" {
		return 0, nil
	}
	up := false
	if shift < 0 {
		cut := max(0, len(all)+shift)
		up = strings.Trim(all[cut:], "0") != ""
		all = all[:cut]
	} else if len(all)+shift > 19 {
		return 0, errMoney
	} else {
		all += strings.Repeat("0", shift)
	}
	if all == "" {
		all = "0"
	}
	n, err := strconv.ParseInt(all, 10, 64)
	if err != nil || n > 9_000_000_000*int64(store.MoneyUnit) {
		return 0, errMoney
	}
	if up {
		n++
	}
	return store.Money(n), nil
}

func digits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
