package store

import (
	"errors"
	"math"
	"strconv"
	"strings"
)

// Money is an amount in billionths of the deployment's currency unit.
type Money int64

// MoneyUnit is one whole currency unit.
const MoneyUnit Money = 1_000_000_000

// MoneyDigits is how many decimals of a unit Money keeps.
const MoneyDigits = 9

// MaxMoney is the largest amount that is read; it leaves room in an int64.
const MaxMoney = 9_000_000_000 * MoneyUnit

var errMoney = errors.New("must be a decimal amount from 0 to 9000000000, such as 0.002")

// AppendDecimal appends m in units as the shortest decimal number.
func (m Money) AppendDecimal(b []byte) []byte {
	if m < 0 {
		b = append(b, '-')
		m = -m
	}
	b = strconv.AppendInt(b, int64(m/MoneyUnit), 10)
	rest := int64(m % MoneyUnit)
	if rest == 0 {
		return b
	}
	digits := strconv.FormatInt(int64(MoneyUnit)+rest, 10)[1:] // with its leading zeros
	return append(append(b, '.'), strings.TrimRight(digits, "0")...)
}

// ParseMoney reads a decimal number of units, as JSON writes numbers, from 0 to
// [MaxMoney]; leading zeros are allowed, a sign is not. Digits below a billionth
// are rounded up, so that no limit is exceeded by a rounding; exact reports that
// there were none but zeros. The work is linear in the length of s.
func ParseMoney(s string) (m Money, exact bool, err error) {
	mantissa, exponent, hasExp := s, "", false
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent, hasExp = s[:i], s[i+1:], true
	}
	whole, frac, hasFrac := strings.Cut(mantissa, ".")
	if !digits(whole) || hasFrac && !digits(frac) {
		return 0, false, errMoney
	}
	shift := MoneyDigits - len(frac) // of all digits, to make billionths
	if hasExp {
		// Far more than any amount can have, and far from overflowing the sum below.
		const most = math.MaxInt32 / 2
		e, err := strconv.Atoi(exponent)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, false, errMoney
		}
		shift += min(max(e, -most), most)
	}
	all := strings.TrimLeft(whole+frac, "0")
	if all == "" {
		return 0, true, nil
	}
	exact = true
	if shift < 0 {
		cut := max(0, len(all)+shift)
		exact = strings.Trim(all[cut:], "0") == ""
		all, shift = all[:cut], 0
	}
	if len(all)+shift > 19 {
		return 0, false, errMoney
	}
	n, err := strconv.ParseInt("0"+all+strings.Repeat("0", shift), 10, 64)
	if err != nil || n > int64(MaxMoney) {
		return 0, false, errMoney
	}
	if !exact {
		n++
	}
	return Money(n), exact, nil
}

// digits reports whether s is one decimal digit or more.
func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
