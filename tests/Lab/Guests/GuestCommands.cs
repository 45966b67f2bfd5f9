// SPDX-License-Identifier: Apache-2.0
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Tidemark.Libvirt;

namespace Tidemark.Lab.Guests;

/// <summary>Commands inside a running lab guest, through its agent: what an administrator would type there.</summary>
public sealed partial class GuestCommands(Domain domain)
{
    private static readonly AgentTimeout AnswerLimit = new(20);
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(100);

    /// <summary>Waits until the guest has booted: its agent answers and its disks are mounted.</summary>
    /// <exception cref="TimeoutException">It has not within the limit.</exception>
    public async Task WaitUntilBootedAsync(TimeSpan limit, CancellationToken cancellationToken)
    {
        for (var begun = TimeProvider.System.GetTimestamp(); ; await Task.Delay(Poll, cancellationToken))
        {
            try
            {
                if ((await RunAsync("/bin/cat", ["/run/settings"], cancellationToken)).ExitCode == 0)
                    return;
            }
            catch (LibvirtException e) when (TimeProvider.System.GetElapsedTime(begun) < limit)
            {
                _ = e; // No agent yet.
            }

            if (TimeProvider.System.GetElapsedTime(begun) > limit)
                throw new TimeoutException($"Guest '{domain.Name}' did not boot within {limit.TotalSeconds} seconds.");
        }
    }

    /// <summary>Sends the agent a command and returns what it returned.</summary>
    public async Task<JsonElement> ExecuteAsync(string command, CancellationToken cancellationToken, JsonObject? arguments = null)
    {
        var request = new JsonObject { ["execute"] = command };
        if (arguments is not null)
            request["arguments"] = arguments;
        using var reply = JsonDocument.Parse(await domain.AgentCommandAsync(request.ToJsonString(), AnswerLimit, cancellationToken));
        return reply.RootElement.GetProperty("return").Clone();
    }

    /// <summary><c>thawed</c> or <c>frozen</c>, as the agent sees its file systems.</summary>
    public async Task<string> FreezeStatusAsync(CancellationToken cancellationToken) =>
        (await ExecuteAsync("guest-fsfreeze-status", cancellationToken)).GetString()!;

    /// <summary>Starts a program in the guest and does not wait for it; returns its process id there.</summary>
    public Task<long> StartAsync(string path, IEnumerable<string> arguments, CancellationToken cancellationToken) =>
        StartAsync(path, arguments, capture: false, cancellationToken);

    /// <summary>Runs a program in the guest to its end.</summary>
    public async Task<(int ExitCode, string Output)> RunAsync(
        string path, IEnumerable<string> arguments, CancellationToken cancellationToken)
    {
        var process = await StartAsync(path, arguments, capture: true, cancellationToken);
        while (true)
        {
            var status = await ExecuteAsync("guest-exec-status", cancellationToken, new JsonObject { ["pid"] = process });
            if (!status.GetProperty("exited").GetBoolean())
            {
                await Task.Delay(Poll, cancellationToken);
                continue;
            }

            var code = status.TryGetProperty("exitcode", out var exit) ? exit.GetInt32() : 128 + status.GetProperty("signal").GetInt32();
            return (code, status.TryGetProperty("out-data", out var data) ? Encoding.UTF8.GetString(data.GetBytesFromBase64()) : "");
        }
    }

    /// <summary>
    /// The durable files on a disk now. What is listed both before and after a frozen point is in the point: names hold checksums, and no
    /// content is written twice.
    /// </summary>
    public async Task<IReadOnlyList<GuestFile>> ListFilesAsync(string disk, CancellationToken cancellationToken)
    {
        var (_, listing) = await RunAsync("/bin/ls", [$"/mnt/{disk}/files"], cancellationToken);
        return FileName().Matches(listing)
            .Select(match => new GuestFile(int.Parse(match.Groups["number"].ValueSpan), match.Groups["sum"].Value, disk)).ToList();
    }

    private async Task<long> StartAsync(
        string path, IEnumerable<string> arguments, bool capture, CancellationToken cancellationToken)
    {
        var request = new JsonObject
        {
            ["path"] = path,
            ["arg"] = new JsonArray([.. arguments.Select(argument => JsonValue.Create(argument))]),
            ["capture-output"] = capture,
        };
        return (await ExecuteAsync("guest-exec", cancellationToken, request)).GetProperty("pid").GetInt64();
    }

    [GeneratedRegex(@"^(?<number>\d+)-(?<sum>[0-9a-f]{64})$", RegexOptions.Multiline | RegexOptions.ExplicitCapture, 5000)]
    private static partial Regex FileName();
}
