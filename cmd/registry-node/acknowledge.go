package main

import (
	"fmt"
	"io"
	"net/url"
	"strconv"

	"registry-node/node"
)

// publication is the API's answer to a publication.
type publication struct {
	node.Published
	// SitesHave is how many sites hold it; nil if nobody asked to wait for them.
	SitesHave *int `json:"sites_have,omitempty"`
	// Warnings are this program's own, from before it was sent.
	Warnings []warning `json:"warnings,omitempty"`
	// Dependencies are what --deps made of the modules that it needs.
	Dependencies *importReport `json:"dependencies,omitempty"`

	late bool // it is not yet wherever it was asked to be
}

// publications are what was published together.
type publications []publication

// checkSites checks what publish is told to wait for.
func (f *publishFlags) checkSites() error {
	if f.sites == "" {
		if f.timeout != 0 {
			return usagef("--timeout is how long to wait for --sites, which is missing")
		}
		return nil
	}
	if n, err := strconv.ParseUint(f.sites, 10, 16); f.sites != "all" && (err != nil || n == 0) {
		return usagef("--sites %q is neither all nor a number from 1 on", f.sites)
	}
	if f.timeout < 0 {
		return usagef("--timeout %v is less than no time", f.timeout)
	}
	return nil
}

// acknowledgement returns the parameters that say what to wait for.
func (f *publishFlags) acknowledgement() url.Values {
	query := url.Values{}
	if f.sites != "" {
		query.Set("sites", f.sites)
	}
	if f.timeout != 0 {
		query.Set("timeout", f.timeout.String())
	}
	return query
}

// complain says what publications that were decided still lack. It returns errNo
// if that is what was to be waited for.
func (ps publications) complain(w io.Writer) error {
	var least *int
	late := false
	for _, p := range ps {
		late = late || p.late
		if p.SitesHave != nil && (least == nil || *p.SitesHave < *least) {
			least = p.SitesHave
		}
	}
	switch {
	case !late:
		return nil
	case least == nil:
		fmt.Fprintln(w, "it is decided at the repository's home; this node has not got it yet, and gets it when it can")
		return nil
	}
	fmt.Fprintf(w, "only %d of the sites hold it by now; the others get it when they can\n", *least)
	return errNo
}
