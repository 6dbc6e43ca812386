package httpapi

import "github.com/perfgate/perfgate/httpapi/rest"

// people lists the calls about people and their access.
func (t *topics) people() []*rest.Route {
	return []*rest.Route{
		{ID: "createOperatorToken", Method: post, Path: "/v1/operator-tokens", Action: "operator_token.create", Scope: admin, Access: operators, Serve: rest.WithBody(t.tokens.Create)},
		{ID: "listOperatorTokens", Method: get, Path: "/v1/operator-tokens", Action: "operator_token.list", Scope: admin, Access: operators, Query: page, Serve: rest.WithoutBody(t.tokens.List)},
		{ID: "deleteOperatorToken", Method: del, Path: "/v1/operator-tokens/{id}", Action: "operator_token.delete", Scope: admin, Access: operators, IDs: "op_", Query: force, Serve: rest.WithoutBody(t.tokens.Delete)},
	}
}
