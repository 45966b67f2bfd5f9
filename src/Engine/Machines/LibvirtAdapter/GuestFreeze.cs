// SPDX-License-Identifier: Apache-2.0
using System.Globalization;
using Tidemark.Libvirt;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>
/// Freezing and thawing through the guest agent, bounded. A freeze that got no answer may still reach the guest (the command
/// waits in the channel until the agent lives again), so it counts as done until a thaw is confirmed.
/// </summary>
internal sealed class GuestFreeze(Domain domain, FreezeRequest request)
{
    private static readonly AgentTimeout FreezeLimit = new(30);
    private static readonly TimeSpan ThawLimit = TimeSpan.FromSeconds(5);

    // The command that freezes was not sent: no channel, or nobody at its other end.
    private static readonly string[] NotSent = ["not configured", "not connected"];

    /// <summary>A freeze was sent and no thaw is confirmed.</summary>
    public bool ThawOwed { get; private set; }

    /// <summary>The agent confirmed the freeze.</summary>
    public bool Frozen { get; private set; }

    /// <summary>Why file systems are not frozen although that was wanted; null otherwise.</summary>
    public string? Problem { get; private set; }

    public async Task FreezeAsync(CancellationToken cancellationToken)
    {
        if (request.Quiesce == Quiesce.Off)
            return;
        if (request.Machine.State == MachineState.Paused)
        {
            // Nobody answers, and the command would freeze the guest whenever it goes on.
            Problem = "the machine is paused";
            return;
        }

        if (!request.Machine.AgentConnected)
        {
            Problem = "the guest has no agent that answers";
            return;
        }

        await domain.SetAgentResponseTimeoutAsync(FreezeLimit, cancellationToken);
        try
        {
            ThawOwed = true;
            await request.FreezeChanged(FreezeState.MayBeFrozen);
            var count = await domain.FreezeFileSystemsAsync(cancellationToken: CancellationToken.None);
            Frozen = count > 0;
            if (!Frozen)
                Problem = "the guest's agent froze no file system";
        }
        catch (LibvirtException e) when (e is not LibvirtConnectionException)
        {
            Problem = string.Create(CultureInfo.InvariantCulture, $"the guest's agent did not freeze: {e.LibvirtMessage}");
            ThawOwed = !NotSent.Any(text => e.LibvirtMessage.Contains(text, StringComparison.Ordinal));
            if (!ThawOwed)
                await request.FreezeChanged(FreezeState.Thawed);
        }
        finally
        {
            await domain.SetAgentResponseTimeoutAsync(AgentTimeout.Block, CancellationToken.None);
        }
    }

    /// <summary>Thaws what may be frozen; a few tries, then it stays owed, for the guardian.</summary>
    public async Task ThawAsync()
    {
        for (var attempt = 0; ThawOwed && attempt < (Frozen ? 3 : 1); attempt++)
        {
            if (await TryThawAsync(domain, ThawLimit, CancellationToken.None) is not { } thawed)
                continue;
            if (Frozen && attempt == 0 && thawed == 0)
            {
                // Someone (the guardian of a run that hung, or a user) thawed it, perhaps before the frozen point began.
                Frozen = false;
                Problem = "the guest was thawed before the backup had begun";
            }

            ThawOwed = false;
            await request.FreezeChanged(FreezeState.Thawed);
        }
    }

    /// <summary>One bounded try: how many file systems the agent thawed, so that none is frozen; null when it did not say.</summary>
    public static async Task<int?> TryThawAsync(Domain domain, TimeSpan limit, CancellationToken cancellationToken)
    {
        try
        {
            await domain.SetAgentResponseTimeoutAsync(new AgentTimeout((int)limit.TotalSeconds), cancellationToken);
            return await domain.ThawFileSystemsAsync(cancellationToken);
        }
        catch (LibvirtException e) when (e.Code == LibvirtErrorCode.ArgumentUnsupported)
        {
            return 0; // The machine has no agent channel: nothing can have been frozen through it.
        }
        catch (LibvirtException)
        {
            return null;
        }
        finally
        {
            try
            {
                // libvirt's own default; it cannot be asked what was set before.
                await domain.SetAgentResponseTimeoutAsync(AgentTimeout.Block, CancellationToken.None);
            }
            catch (LibvirtException)
            {
                // The machine is off, or the connection is gone: nothing is left to restore.
            }
        }
    }
}
