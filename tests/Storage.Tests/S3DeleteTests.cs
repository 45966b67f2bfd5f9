// SPDX-License-Identifier: Apache-2.0
using System.Net;
using System.Text;
using System.Xml.Linq;

namespace Tidemark.Storage.Tests;

/// <summary>What a server's answer to a batch of deletions means: what it does not confirm is not deleted (docs/format.md section 10a).
/// The answers are ones that a healthy server does not give.</summary>
public sealed class S3DeleteTests
{
    private static readonly string[] Keys = ["packs/a", "packs/b", "packs/c"];

    [Theory]
    [InlineData("", true, "")]
    [InlineData("packs/b NoSuchKey", true, "")]
    [InlineData("packs/b AccessDenied", false, "Could not delete 'packs/b' in 's3://bucket/some/where': AccessDenied")]
    [InlineData("packs/b InternalError", false, "InternalError")]
    [InlineData("packs/b InternalError;packs/c AccessDenied", false, "'packs/b' and 1 other objects")]
    [InlineData("packs/c nothing", false, "the server did not confirm it")]
    public async Task OnlyWhatIsConfirmed_CountsAsDeleted(string refused, bool isDone, string problem)
    {
        using var server = new Server(refused);
        await using var store = new S3Store(server.Options);
        var deleting = store.DeleteAsync(Keys, Fixture.Token).AsTask();
        if (isDone)
        {
            await deleting;
        }
        else
        {
            var failure = await Assert.ThrowsAsync<StoreException>(() => deleting);
            Assert.Contains(problem, failure.Message, StringComparison.Ordinal);
            Assert.Equal(!refused.Contains("AccessDenied", StringComparison.Ordinal), failure.IsTransient);
        }

        Assert.Equal(Keys.Select(key => "some/where/" + key), server.Asked);
    }

    [Fact]
    public async Task NoKeys_AreNoRequestAndTooManyAreRefused()
    {
        using var server = new Server("");
        await using var store = new S3Store(server.Options);
        await store.DeleteAsync([], Fixture.Token);
        Assert.Empty(server.Asked);
        string[] many = [.. Enumerable.Range(0, 1001).Select(number => $"packs/{number}")];
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => store.DeleteAsync(many, Fixture.Token).AsTask());
    }

    // Answers one request to delete: each key is confirmed, or refused with the code that is given for it; "nothing" says nothing of it.
    private sealed class Server : IDisposable
    {
        private readonly HttpListener _listener;
        private readonly Dictionary<string, string> _refused;

        public Server(string refused)
        {
            _refused = refused.Split(';', StringSplitOptions.RemoveEmptyEntries).Select(part => part.Split(' '))
                .ToDictionary(part => "some/where/" + part[0], part => part[1]);
            _listener = Listen(out var port);
            Options = new S3Options
            {
                Bucket = "bucket",
                Prefix = "some/where",
                Endpoint = $"http://127.0.0.1:{port}",
                PathStyle = true,
                Keys = ("key", "secret"),
            };
            _ = AnswerAsync();
        }

        public S3Options Options { get; }

        public List<string> Asked { get; } = [];

        public void Dispose() => _listener.Close();

        private static HttpListener Listen(out int port)
        {
            for (port = Random.Shared.Next(20_000, 30_000); ; port++)
            {
                var listener = new HttpListener();
                listener.Prefixes.Add($"http://127.0.0.1:{port}/");
                try
                {
                    listener.Start();
                    return listener;
                }
                catch (HttpListenerException)
                {
                    listener.Close(); // taken: the next one
                }
            }
        }

        private async Task AnswerAsync()
        {
            while (_listener.IsListening)
            {
                var context = await _listener.GetContextAsync();
                var body = await new StreamReader(context.Request.InputStream).ReadToEndAsync(Fixture.Token);
                Asked.AddRange(XDocument.Parse(body).Descendants().Where(element => element.Name.LocalName == "Key")
                    .Select(element => element.Value));
                var answer = new StringBuilder("<?xml version=\"1.0\"?><DeleteResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
                foreach (var key in Asked)
                {
                    if (!_refused.TryGetValue(key, out var code))
                        answer.Append($"<Deleted><Key>{key}</Key></Deleted>");
                    else if (code != "nothing")
                        answer.Append($"<Error><Key>{key}</Key><Code>{code}</Code><Message>said the server</Message></Error>");
                }

                var bytes = Encoding.UTF8.GetBytes(answer.Append("</DeleteResult>").ToString());
                context.Response.ContentType = "application/xml";
                await context.Response.OutputStream.WriteAsync(bytes, Fixture.Token);
                context.Response.Close();
            }
        }
    }
}
