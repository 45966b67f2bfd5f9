// SPDX-License-Identifier: Apache-2.0
using Tidemark.Libvirt;

namespace Tidemark.Engine.Machines.LibvirtAdapter;

/// <summary>libvirt's refusals as failures a user can act on.</summary>
internal static class LibvirtFailures
{
    /// <summary>Runs calls on libvirt; what it throws becomes an <see cref="EngineException"/> with libvirt's own words.</summary>
    public static async Task<T> TranslateAsync<T>(Func<Task<T>> calls)
    {
        try
        {
            return await calls();
        }
        catch (LibvirtMissingException e)
        {
            throw EngineException.Failed(e.Message, "apt-get install libvirt0", e);
        }
        catch (LibvirtBusyException e)
        {
            throw new EngineException(FailureKind.Busy, e.Message, "another job holds the machine; try again later", e);
        }
        catch (LibvirtConnectionException e)
        {
            throw EngineException.Failed(e.Message, "is libvirtd running, and may this user connect to it?", e);
        }
        catch (LibvirtException e)
        {
            throw EngineException.Failed(e.Message, inner: e);
        }
    }

    /// <summary>Calls that ask a machine's QEMU, given up after a time: it may never answer (its storage hangs, say).</summary>
    /// <param name="machine">The machine's name, for the failure.</param>
    /// <param name="limit">How long to wait; what was asked may still be done after it.</param>
    /// <param name="calls">The calls.</param>
    public static async Task<T> WithinAsync<T>(string machine, TimeSpan limit, Func<Task<T>> calls)
    {
        try
        {
            return await calls().WaitAsync(limit);
        }
        catch (TimeoutException e)
        {
            throw NoAnswer(machine, limit, e);
        }
    }

    public static EngineException NoAnswer(string machine, TimeSpan limit, TimeoutException inner) => EngineException.Failed(
        $"The QEMU of machine '{machine}' did not answer within {limit.TotalSeconds} s; its storage may hang.",
        $"tidemark doctor {machine}",
        inner);

    public static Task TranslateAsync(Func<Task> calls) => TranslateAsync(async () =>
    {
        await calls();
        return true;
    });
}
