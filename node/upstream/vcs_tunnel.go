package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// tunnel connects to addr for a command: directly, or by CONNECT through the
// proxy for https.
func (r *reach) tunnel(ctx context.Context, addr string) (net.Conn, error) {
	proxy, err := r.proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: addr}})
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return r.dial(ctx, "tcp", addr)
	}
	if proxy.Scheme != "http" && proxy.Scheme != "https" {
		return nil, fmt.Errorf("proxy of scheme %q: git is only led through http and https proxies", proxy.Scheme)
	}
	conn, err := r.dial(ctx, "tcp", hostPort(proxy))
	if err != nil {
		return nil, err
	}
	if proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
	}
	if err := connectThrough(ctx, conn, proxy, addr); err != nil {
		conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", hostPort(proxy), err)
	}
	return conn, nil
}

// connectThrough asks the proxy at conn for a connection to addr.
func connectThrough(ctx context.Context, conn net.Conn, proxy *url.URL, addr string) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(vcsConnect))
	hr := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if proxy.User != nil {
		password, _ := proxy.User.Password()
		hr.Header.Set("Proxy-Authorization", basic(proxy.User.Username(), password).secret().value)
	}
	if err := hr.Write(conn); err != nil {
		return err
	}
	// TLS is begun by git, so nothing but the answer is in the buffer.
	resp, err := http.ReadResponse(bufio.NewReader(conn), hr)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT was answered %s", clip(resp.Status))
	}
	return conn.SetDeadline(time.Time{})
}
