package httpapi

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"registry-node/events"
	"registry-node/node"
)

// Values of Content-Type of the files of a version, and of the answer to a file.
var (
	mimeTypes       = map[string]string{events.InfoFile: "application/json", events.ModFile: "text/plain", events.ZipFile: "application/zip"}
	typeItemCreated = []string{"application/vnd.org.jfrog.artifactory.storage.ItemCreated+json"}
)

// itemCreated is the answer to a file that was uploaded.
type itemCreated struct {
	Repo        string            `json:"repo"`
	Path        string            `json:"path"` // begins with a slash
	Created     string            `json:"created"`
	CreatedBy   string            `json:"createdBy"`
	DownloadURI string            `json:"downloadUri"`
	MimeType    string            `json:"mimeType"`
	Size        string            `json:"size"` // bytes
	Checksums   map[string]string `json:"checksums"`
	Original    map[string]string `json:"originalChecksums"` // as the client said
	URI         string            `json:"uri"`
}

// artifactoryTime is the format of times in what an Artifactory answers.
const artifactoryTime = "2006-01-02T15:04:05.000Z07:00"

// deployModule takes a file of a version as jf go-publish sends it: the zip, the
// go.mod and the info, in this order.
func (s *Server) deployModule(c echo.Context) error { return s.deploy(c, artifactoryGoPrefix, true) }

// deployFile takes a file of a version from clients that send them in any order.
func (s *Server) deployFile(c echo.Context) error { return s.deploy(c, artifactoryPrefix, false) }

func (s *Server) deploy(c echo.Context, prefix string, inOrder bool) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	w.kind = kindPublish
	f, err := fileAt(c, prefix)
	if err != nil {
		return invalid(err)
	}
	auditOf(c).about(f.version)
	auditOf(c).Repo = f.repo.String()
	if info, err := s.node.Repo(w.who, f.repo); err == nil {
		w.repo = repoKindOf(info.Kind)
	}
	said, err := saidChecksums(r.Header)
	if err != nil {
		return err
	}
	ack, err := s.parseAcknowledgement(c.QueryParam("sites"), c.QueryParam("timeout"))
	if err != nil {
		return err
	}
	part := node.Part{Repo: f.repo, Version: f.version, File: f.kind, Properties: f.properties, InOrder: inOrder}
	if strings.EqualFold(r.Header.Get("X-Checksum-Deploy"), "true") {
		return s.deployKnown(c, f, part, said, ack)
	}
	if f.kind == events.ZipFile {
		if err := w.allowance.publish(r.Context()); err != nil {
			return err
		}
	}
	from, err := limited(w, r, maxZip, zipWhat)
	if err != nil {
		return err
	}
	sums := newSummed(from, said)
	part.Body = sums
	got, err := s.node.Deploy(r.Context(), w.who, part)
	if err != nil {
		sums.readOn(w, r)
		return err
	}
	return s.created(c, f, got, sums.size, sums.checksums(), ack)
}

// deployKnown answers a client that has a file here already, as it hopes, and so
// sends none: 404 if it hasn't.
func (s *Server) deployKnown(c echo.Context, f moduleFile, part node.Part, said checksums, ack acknowledgement) error {
	sums, err := said.sums()
	if err != nil || said.SHA256 == "" {
		return fail(node.ErrNotFound, "without its SHA-256 no file is known here: send it")
	}
	got, known, err := s.node.DeployKnown(c.Request().Context(), caller(c), part, sums)
	if err != nil {
		return err
	}
	if !known {
		return fail(node.ErrNotFound, "no file with these checksums is there: send it")
	}
	return s.created(c, f, got, got.Size, checksumsIn(got.Sums), ack)
}

// created answers that a file is there: 201 and nothing else, also if it was before,
// but to who has asked for other sites to hold the version, if they do not in time.
func (s *Server) created(c echo.Context, f moduleFile, got node.Deployed, size int64, sums checksums, ack acknowledgement) error {
	w, r := c.Response().Writer.(*writer), c.Request()
	h := w.Header()
	status := http.StatusCreated
	if !got.At.Mark.IsZero() {
		h[positionHeader] = []string{got.At.String()}
		ctx, cancel := w.untilStop(r.Context())
		defer cancel()
		if _, reached := s.reached(ctx, got.At, ack); !reached {
			status = http.StatusAccepted
		}
	}
	sums.setHeaders(h)
	all := sums.byName()
	base, path := s.artifactoryBase(r), got.Repo.String()+"/"+f.rawPath()
	item := itemCreated{
		Repo: got.Repo.String(), Path: "/" + f.rawPath(), Created: got.Time.UTC().Format(artifactoryTime), CreatedBy: w.who.Name(),
		DownloadURI: base + path, MimeType: mimeTypes[f.kind], Checksums: all, Original: all, URI: base + "api/storage/" + path, Size: strconv.FormatInt(size, 10),
	}
	return replyAs(c, status, typeItemCreated, item)
}

// fileAt returns the module file that the path of a request names behind a prefix.
func fileAt(c echo.Context, prefix string) (f moduleFile, err error) {
	l, err := parseLocation(strings.TrimPrefix(c.Request().URL.EscapedPath(), prefix))
	if err != nil {
		return f, err
	}
	return l.file()
}

// deleteFile deletes the version that a file is of: its other files go with it. What
// was deleted stays so.
func (s *Server) deleteFile(c echo.Context) error {
	f, err := fileAt(c, artifactoryPrefix)
	if err != nil {
		return invalid(err)
	}
	auditOf(c).about(f.version)
	auditOf(c).Repo = f.repo.String()
	if err := s.node.Hide(c.Request().Context(), caller(c), f.repo, f.version, ""); err != nil {
		return err
	}
	return noContent(c)
}

// drainPatience bounds how long the rest of a refused upload is read, at whatever
// pace. Some clients read no answer before they have sent all.
const drainPatience = 30 * time.Second

// readOn reads what a client that is known still sends of an upload that is refused,
// so that it sees why. Who waits for leave to send, and has not got it, gets none.
func (b *summed) readOn(w *writer, r *http.Request) {
	if !w.who.Known() || b.err != nil || b.size == 0 && r.Header.Get("Expect") != "" {
		return
	}
	part := make([]byte, 64<<10)
	for end := time.Now().Add(drainPatience); time.Now().Before(end); {
		if _, err := b.from.Read(part); err != nil {
			return
		}
	}
}
