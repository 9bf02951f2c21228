package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"registry-node/node"
)

// silentFor is how long a site may not be heard before that is something for a
// person: a restart takes less.
const silentFor = time.Minute

// printStatus prints a node's status for a person.
func printStatus(w io.Writer, st *node.Status) error {
	t := newTable(w)
	t.row("site", st.Site)
	t.row("registry", st.Registry)
	t.row("takes writes", yesNo(st.Writable))
	t.row("repositories", len(st.Repos))
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := printSitesStatus(w, &st.Replication); err != nil {
		return err
	}
	if err := printTroubles(w, troubles(st)); err != nil {
		return err
	}
	for _, text := range st.Remarks {
		if _, err := fmt.Fprintln(w, "- "+oneLine(text)); err != nil {
			return err
		}
	}
	return nil
}

// printSitesStatus prints a line for each site, and how they agree.
func printSitesStatus(w io.Writer, rep *node.Replication) error {
	t := newTable(w)
	t.row("SITE", "STATE", "BEHIND", "BLOBS MISSING", "AGREES", "DISK", "VERSION")
	for _, s := range rep.Sites {
		t.row(s.Name, stateText(s), behindText(s), missingText(s), agreesText(s), diskText(s), orDash(s.Version))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s\n", oneLine(agreementText(rep)))
	return err
}

func printTroubles(w io.Writer, troubles []string) error {
	for _, text := range troubles {
		if _, err := fmt.Fprintln(w, "! "+oneLine(text)); err != nil {
			return err
		}
	}
	return nil
}

const dash = "–"

func orDash(s string) string {
	if s == "" {
		return dash
	}
	return s
}

func stateText(s node.SiteStatus) string {
	switch {
	case s.Self:
		return "here"
	case s.Connected:
		return "connected"
	case s.LastHeard.IsZero():
		return "never heard"
	}
	return "not heard for " + agoText(time.Since(s.LastHeard))
}

func behindText(s node.SiteStatus) string {
	if s.LagEntries == 0 && s.LagSeconds < 1 {
		return dash
	}
	return fmt.Sprintf("%d entries, %s", s.LagEntries, agoText(time.Duration(s.LagSeconds*float64(time.Second))))
}

func missingText(s node.SiteStatus) string {
	if s.BlobsMissing == 0 {
		return dash
	}
	return fmt.Sprintf("%d, %s", s.BlobsMissing, bytesText(s.BytesMissing))
}

func agreesText(s node.SiteStatus) string {
	switch s.Agrees {
	case node.Equal:
		return "yes"
	case node.CatchingUp:
		return "catching up"
	case node.Different:
		return "NO"
	}
	return orDash(s.Agrees)
}

func diskText(s node.SiteStatus) string {
	if s.FreeBytes == 0 {
		return dash
	}
	return bytesText(s.FreeBytes) + " free"
}

func agreementText(rep *node.Replication) string {
	switch {
	case rep.Agreement == node.Equal && len(rep.Sites) == 1:
		return "agreement: equal; this is the only site"
	case rep.Agreement == node.Equal:
		return "agreement: equal; all connected sites hold the same"
	case rep.LastEqualAt.IsZero():
		return "agreement: " + rep.Agreement
	}
	return fmt.Sprintf("agreement: %s; last equal %s ago", rep.Agreement, agoText(time.Since(rep.LastEqualAt)))
}

// agoText shows a length of time to a person, as precisely as is of use.
func agoText(d time.Duration) string {
	d = max(d, 0).Round(time.Second)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour && (d >= 10*time.Minute || d%time.Minute == 0):
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%dh", int(d.Hours())/24, int(d.Hours())%24)
}

// troubles returns what needs a person, as it does not mend itself, with what to
// do about it.
func troubles(st *node.Status) (list []string) {
	list = append(list, st.Reasons...)
	if !st.Writable && len(st.Reasons) == 0 {
		list = append(list, "this node takes no writes; its log says why")
	}
	for _, s := range st.Replication.Sites {
		if s.Self { // what the node says of itself it also tells the others
			s.Reasons = slices.DeleteFunc(slices.Clone(s.Reasons), func(why string) bool { return slices.Contains(st.Reasons, why) })
		}
		list = append(list, siteTroubles(s)...)
	}
	return append(list, agreementTroubles(&st.Replication, len(list))...)
}

// sitesTroubles is troubles as far as the sites are concerned.
func sitesTroubles(rep *node.Replication) (list []string) {
	for _, s := range rep.Sites {
		list = append(list, siteTroubles(s)...)
	}
	return append(list, agreementTroubles(rep, len(list))...)
}

// siteTroubles is what a site says of itself, and what its figures say.
func siteTroubles(s node.SiteStatus) (list []string) {
	for _, why := range s.Reasons {
		list = append(list, fmt.Sprintf("%s: %s", s.Name, why))
	}
	if s.Agrees == node.Different {
		list = append(list, fmt.Sprintf("%s: it holds other state than this site at the same position; find where with: registry-node diff %s", s.Name, s.Name))
	}
	if s.Conflicts > 0 {
		list = append(list, fmt.Sprintf("%s: %d conflicts there need a person to decide; its other lines here say of what, as does registry-node status --data DIR on its machine", s.Name, s.Conflicts))
	}
	silent := !s.Self && !s.Connected && (s.LastHeard.IsZero() || time.Since(s.LastHeard) >= silentFor)
	if silent {
		list = append(list, fmt.Sprintf("%s: %s; if it is gone for good: registry-node site remove %s --reason TEXT", s.Name, stateText(s), s.Name))
	}
	return list
}

// agreementTroubles is what the agreement says if nothing else does.
func agreementTroubles(rep *node.Replication, said int) []string {
	if rep.Agreement != node.Different || said > 0 {
		return nil
	}
	return []string{"sites hold different state at the same position; find where with: registry-node diff SITE"}
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}
