// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Tidemark.Cli.Tests;

/// <summary>A server that answers an S3 client as a test wants: a status and a body, or null for no answer at all.</summary>
internal sealed class FakeBucket : IDisposable
{
    private readonly HttpListener _listener = new();
    private readonly Func<HttpListenerRequest, (int Status, string Body)?> _answer;
    private readonly TaskCompletionSource _silent = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public FakeBucket(Func<HttpListenerRequest, (int Status, string Body)?> answer)
    {
        _answer = answer;
        using (var free = new TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            Endpoint = $"http://{free.LocalEndpoint}";
        }

        _listener.Prefixes.Add($"{Endpoint}/");
        _listener.Start();
        _ = ServeAsync();
    }

    public static (int Status, string Body) Missing => (404, "<Error><Code>NoSuchKey</Code><Message>It is not there</Message></Error>");

    public string Endpoint { get; }

    /// <summary>Ends when the first request got no answer.</summary>
    public Task Silent => _silent.Task;

    public void Dispose() => _listener.Close();

    private async Task ServeAsync()
    {
        while (_listener.IsListening)
        {
            HttpListenerContext context;
            try
            {
                context = await _listener.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            if (_answer(context.Request) is not { } answer)
            {
                _silent.TrySetResult();
                continue;
            }

            context.Response.StatusCode = answer.Status;
            context.Response.ContentType = "application/xml";
            var isHead = context.Request.HttpMethod == "HEAD";
            context.Response.Close(isHead ? [] : Encoding.UTF8.GetBytes(answer.Body), willBlock: true);
        }
    }
}
