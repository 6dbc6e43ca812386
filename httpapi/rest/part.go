package rest

import (
	"net/http"
	"net/url"
	"slices"
)

// Part is c as the call of a list that is a part of c's own answer: its parameters are query,
// and param is the segment of its path. Its caller, account and time are those of c. It
// must neither stream nor take the place of an export.
func Part(c *Call, id, param string, query url.Values) *Call {
	part := *c
	part.Request = c.Request.Clone(c.Request.Context())
	part.Request.Method = http.MethodGet
	part.Request.URL.RawQuery = query.Encode()
	rt := &Route{ID: id, Method: http.MethodGet, Path: c.Route.Path}
	for name := range query {
		rt.Query = append(rt.Query, name)
	}
	slices.Sort(rt.Query)
	part.Route, part.Param, part.ETag = rt, param, 0
	return &part
}
