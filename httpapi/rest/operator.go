package rest

import "github.com/perfgate/perfgate/store/ids"

// OperatorPrefix begins the operator tokens that perfgate makes.
const OperatorPrefix = "pgop_"

// NewOperatorToken returns a new operator token (262 random bits).
func NewOperatorToken() string { return ids.New(ids.New(OperatorPrefix)) }
