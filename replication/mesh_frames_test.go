package replication

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"registry-node/events"
)

// chunks is a connection that gives text in parts of n bytes.
type chunks struct {
	net.Conn
	r *strings.Reader
	n int
}

func (c chunks) Read(b []byte) (int, error) { return c.r.Read(b[:min(c.n, len(b))]) }

func TestFramesOfAPeersServer(t *testing.T) {
	const info = "INFO {\"server_id\":\"x\"}\r\n"
	msg := "MSG rn1.to.a.x 1 5\r\nhello\r\nHMSG rn1.to.a.x 2 rn1.inbox.b.1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n"
	most := fmt.Sprintf("MSG x 1 %d\r\n", MaxMessage+maxHeader)
	for text, good := range map[string]bool{
		info + "PONG\r\nPING\r\n+OK\r\n-ERR 'no'\r\n" + msg + msg: true,
		"MSG x 1 0\r\n\r\nPING\r\n":                               true,
		"MSG x 1 18\r\nMSG x 1 9999999999\r\nPING\r\n":            true, // a payload may look like a line
		most: true,
		fmt.Sprintf("MSG x 1 %d\r\n", MaxMessage+maxHeader+1): false,
		"MSG x 1 9223372036854775807\r\n":                     false,
		"MSG x 1 -1\r\n":                                      false,
		"MSG x 1 +1\r\n":                                      false,
		"MSG x 1 \r\n":                                        false,
		"MSG\r\n":                                             false,
		"MSG x 1 1\r9\r\n":                                    false,
		"MSG x 1\t1 5\r\n":                                    false,
		"MSG x 1 5\n":                                         false,
		"MSG x 1 0\r\nXX":                                     false,
		"MSG x 1 2\r\nabc\r\n":                                false,
		"msg x 1 5\r\n":                                       false,
		"PINGMSG x 1 5\r\n":                                   false,
		"\r\n":                                                false,
		"INFO " + strings.Repeat("x", maxLine):                false,
	} {
		for _, n := range []int{1, 2, 3, 7, 4096} {
			c := &framedConn{Conn: chunks{r: strings.NewReader(text), n: n}}
			got, err := io.ReadAll(c)
			if (err == nil) != good || good && string(got) != text {
				t.Errorf("%.60q in parts of %d: %v", text, n, err)
			}
		}
	}
}

func TestRepliesGoToTheAskerOnly(t *testing.T) {
	b, err := events.ParseSite("b")
	if err != nil {
		t.Fatal(err)
	}
	if err := checkReply("rn1.inbox.b.17", b); err != nil {
		t.Error(err)
	}
	for _, reply := range []string{"", "rn1.inbox.b", "rn1.inbox.b.x", "rn1.inbox.b.1.2", "rn1.inbox.b.*", "rn1.inbox.b.>", "rn1.inbox.bb.1", "rn1.inbox.c.1",
		"rn1.to.c.announce", "rn1.req.b.x", "_INBOX.1", "rn1.inbox.b." + strings.Repeat("1", 21)} {
		if checkReply(reply, b) == nil {
			t.Errorf("%q is taken", reply)
		}
	}
}

func TestNoticesThatComeLateAreOld(t *testing.T) {
	last := ordinal{run: 5, n: 10}
	for o, want := range map[ordinal]bool{{5, 11}: true, {5, 10}: false, {5, 9}: false, {6, 1}: true, {4, 1}: true} {
		back, err := parseOrdinal(o.String())
		if err != nil || back != o || o.follows(last) != want {
			t.Errorf("%v: %v, %v, follows %v is not %t", o, back, err, last, want)
		}
	}
	for _, s := range []string{"", "1", "x/1", "1/x", "1/-1"} {
		if _, err := parseOrdinal(s); err == nil {
			t.Errorf("%q is taken", s)
		}
	}
}
