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

    public static Task TranslateAsync(Func<Task> calls) => TranslateAsync(async () =>
    {
        await calls();
        return true;
    });
}
